"""Format of a journal line: an answer, or a paid reply that is unusable."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.error_policy import KEPT
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.records import Usage
from lvqa_ray.records.usage import REPORTED

_JSON = json.JSONEncoder(separators=(",", ":"))  # created once: `json.dumps` creates one per call


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A parsed line.

    Attributes:
        key: Cache key, in hex.
        model: Model that answered.
        usage: Its usage.
        reply: The answer, or the failure that a retry would repeat; ``None`` if a retry makes sense.
        unusable: Kind of the error; empty for an answer.
        at: Write time in seconds since 1970; 0 for lines of an earlier release.
        seconds: Latency of the endpoint (s); 0 if unknown.
    """

    key: str
    model: str
    usage: Usage
    reply: ChatReply | ApiError | None
    unusable: str = ""
    at: float = 0.0
    seconds: float = 0.0


def line_of(key: str, reply: ChatReply | ApiError, model: str, *, batch: str = "") -> bytes:
    """Format the line of a reply; an error must have a bill, since only paid replies are recorded.

    Args:
        key: Cache key, in hex.
        reply: The reply or error.
        model: The requested model, for errors; an answer holds its own.
        batch: Tag of the file batch that brought it; empty for none.
    """
    if isinstance(reply, ApiError):
        usage = Usage.of(reply)
        fields = {"error": reply.kind, "message": str(reply), "raw": reply.raw, "model": model}
    else:
        usage = reply.usage
        fields = {"text": reply.text, "model": reply.model}
        if reply.thoughts:
            fields["thoughts"] = reply.thoughts
    counts = {name: getattr(usage, name) for name in ("input_tokens", "output_tokens", "cost_usd")}
    # A line lacks the counts that are unknown, as lines of earlier releases do.
    counts |= {name: count for name in REPORTED if (count := getattr(usage, name)) is not None}
    latency = {"s": round(reply.seconds, 3)} if isinstance(reply, ChatReply) and reply.seconds else {}
    source = {"batch": batch} if batch else {}
    line = _JSON.encode({"key": key, **fields, **counts, "at": round(time.time(), 1), **latency, **source})
    return f"{line}\n".encode("ascii")


def entry_of(line: bytes) -> JournalEntry | None:
    """Parse a line; ``None`` if it is invalid."""
    try:
        fields = json.loads(line)
        return _entry(fields) if len(bytes.fromhex(fields["key"])) == 32 else None
    except (ValueError, TypeError, KeyError):
        return None


def _entry(fields: dict[str, Any]) -> JournalEntry:
    cost, model = fields["cost_usd"], str(fields["model"])
    usage = Usage(
        calls=1,
        input_tokens=int(fields["input_tokens"]),
        output_tokens=int(fields["output_tokens"]),
        cost_usd=None if cost is None else float(cost),
        **{name: int(fields[name]) for name in REPORTED if fields.get(name) is not None},
    )
    at, seconds = float(fields.get("at", 0.0)), float(fields.get("s", 0.0))
    if "error" in fields:
        kind = str(fields["error"])
        return JournalEntry(fields["key"], model, usage, _failure(kind, fields, usage), kind, at=at)
    if not isinstance(fields["text"], str) or not fields["text"]:
        raise ValueError("an answer has a text")
    thoughts = str(fields.get("thoughts", ""))
    reply = ChatReply(text=fields["text"], model=model, usage=usage, seconds=seconds, thoughts=thoughts)
    return JournalEntry(fields["key"], model, usage, reply, at=at, seconds=seconds)


def _failure(kind: str, fields: dict[str, Any], usage: Usage) -> ApiError | None:
    if kind not in KEPT:
        return None
    error = KEPT[kind](str(fields["message"]))
    error.raw = str(fields["raw"])
    error.bill = usage.bill
    return error
