"""Faults that the fake endpoint can inject."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from typing import Any, Literal

RetryAfter = Literal["seconds", "date", "ms"] | None


class Fault(StrEnum):
    """A fault of a call."""

    RATE_LIMIT = "429"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    OVERLOADED = "529"
    HANG = "hang"
    DISCONNECT = "disconnect"
    CUT_OFF = "cut_off"
    MALFORMED = "malformed"
    HTML = "html"
    NULL_CONTENT = "null_content"
    EMPTY_CHOICES = "empty_choices"
    ERROR_BODY = "error_body"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    NO_USAGE = "no_usage"
    BAD_QUESTION = "bad_question"


PAID = frozenset({Fault.NO_USAGE, Fault.BAD_QUESTION, Fault.LENGTH, Fault.CONTENT_FILTER, Fault.REFUSAL})
"""Replies that must not be paid twice, though some are unusable. A reply without text is billed too, but retrying it is
correct."""


@dataclass(frozen=True)
class Status:
    """A custom error reply, usable wherever a `Fault` is."""

    status: int
    code: str | int | None = None
    type: str | None = None
    message: str = "made to order"
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def rate_limited(wait_s: float, retry_after: RetryAfter) -> Status:
    """A 429 that says in one of several forms how long to wait (s)."""
    headers = {
        "seconds": {"Retry-After": f"{wait_s:.3f}"},
        "date": {"Retry-After": formatdate(time.time() + wait_s + 1, usegmt=True)},
        "ms": {"retry-after-ms": f"{wait_s * 1000:.0f}"},
        None: {},
    }[retry_after]
    return Status(429, "rate_limit_exceeded", "requests", "Slow down.", headers)


def spoil(reply: dict[str, Any], fault: Fault | Status | None) -> dict[str, Any]:
    """Apply a fault to the content of a completion; faults of the connection change nothing."""
    choice = reply["choices"][0]
    message = choice["message"]
    match fault:
        case Fault.ERROR_BODY:
            return {"error": {"message": "The upstream model failed.", "type": "upstream_error"}}
        case Fault.NULL_CONTENT:
            message["content"] = None
        case Fault.EMPTY_CHOICES:
            reply["choices"] = []
        case Fault.LENGTH:
            choice["finish_reason"] = "length"
            message["content"] = message["content"][:40]
        case Fault.CONTENT_FILTER:
            choice["finish_reason"] = "content_filter"
            message["content"] = ""
        case Fault.REFUSAL:
            message |= {"content": None, "refusal": "I cannot help with that."}
        case Fault.NO_USAGE:
            del reply["usage"]
        case Fault.BAD_QUESTION:
            message["content"] = (
                message["content"].replace("ANSWER:", "It is").replace("OPTIONS:", "").replace('"answer"', '"reply"')
            )
    return reply
