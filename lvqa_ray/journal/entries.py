"""One line of the journal: an answer, or a reply that was paid for and cannot be used."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from lvqa_ray.errors import ApiError, Bill
from lvqa_ray.llm.error_policy import KEPT
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.records import Usage

_JSON = json.JSONEncoder(separators=(",", ":"))  # made once: `json.dumps` makes one a call


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A line as it is read.

    Attributes:
        key: Names the answer, in hex.
        model: Who gave it.
        usage: What it cost.
        reply: The answer, or the failure that stands for it; ``None`` where asking again is right.
        unusable: Kind of the error, or empty for an answer.
        at: When it was written down, in seconds since 1970; 0 for lines of an earlier release.
        seconds: How long the endpoint took, or 0 where that is not known.
    """

    key: str
    model: str
    usage: Usage
    reply: ChatReply | ApiError | None
    unusable: str = ""
    at: float = 0.0
    seconds: float = 0.0


def line_of(key: str, reply: ChatReply | ApiError, model: str) -> bytes:
    """The line for a reply; a failure has to have a bill, since only what was paid for is written down.

    Args:
        key: Names the answer, in hex.
        reply: What came.
        model: Who was asked; an answer says itself who gave it.
    """
    if isinstance(reply, ApiError):
        usage = Usage.of(reply)
        said = {"error": reply.kind, "message": str(reply), "raw": reply.raw, "model": model}
    else:
        usage = reply.usage
        said = {"text": reply.text, "model": reply.model}
    counts = {name: getattr(usage, name) for name in ("input_tokens", "output_tokens", "cost_usd")}
    taken = {"s": round(reply.seconds, 3)} if isinstance(reply, ChatReply) and reply.seconds else {}
    line = _JSON.encode({"key": key, **said, **counts, "at": round(time.time(), 1), **taken})
    return f"{line}\n".encode("ascii")


def entry_of(line: bytes) -> JournalEntry | None:
    """A line of a segment, or ``None`` where it is no entry."""
    try:
        said = json.loads(line)
        return _entry(said) if len(bytes.fromhex(said["key"])) == 32 else None
    except (ValueError, TypeError, KeyError):
        return None


def _entry(said: dict[str, Any]) -> JournalEntry:
    cost, model = said["cost_usd"], str(said["model"])
    usage = Usage(
        calls=1,
        input_tokens=int(said["input_tokens"]),
        output_tokens=int(said["output_tokens"]),
        cost_usd=None if cost is None else float(cost),
    )
    at, seconds = float(said.get("at", 0.0)), float(said.get("s", 0.0))
    if "error" in said:
        kind = str(said["error"])
        return JournalEntry(said["key"], model, usage, _failure(kind, said, usage), kind, at=at)
    if not isinstance(said["text"], str) or not said["text"]:
        raise ValueError("an answer has a text")
    reply = ChatReply(text=said["text"], model=model, usage=usage, seconds=seconds)
    return JournalEntry(said["key"], model, usage, reply, at=at, seconds=seconds)


def _failure(kind: str, said: dict[str, Any], usage: Usage) -> ApiError | None:
    if kind not in KEPT:
        return None
    error = KEPT[kind](str(said["message"]))
    error.raw = str(said["raw"])
    error.bill = Bill(usage.input_tokens, usage.output_tokens, usage.cost_usd)
    return error
