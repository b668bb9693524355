"""Rate-limit headers of a reply: how much is left, and when it resets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s))")
_UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_EPOCH_S = 1e9
"""A number from here on is a Unix time in seconds, not a duration: durations are shorter than 30 years."""
_EPOCH_MS = 1e12
_LONGEST_S = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class RateInfo:
    """The endpoint's limits after a reply; ``None`` for what the headers do not say.

    Attributes:
        remaining_requests: Requests left.
        remaining_tokens: Tokens left.
        reset_requests_s: Time until the requests reset (s).
        reset_tokens_s: Time until the tokens reset (s).
        retry_after_s: Retry-After (s).
    """

    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    reset_requests_s: float | None = None
    reset_tokens_s: float | None = None
    retry_after_s: float | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str], now: datetime | None = None) -> RateInfo | None:
        """Parse a reply's headers; ``None`` if they hold nothing about limits.

        Known headers: ``x-ratelimit-{remaining,reset}-{requests,tokens}`` (OpenAI, Azure, Groq, Together), the plain
        ``x-ratelimit-{remaining,reset}`` (OpenRouter), ``anthropic-ratelimit-...``, ``retry-after`` and
        ``retry-after-ms``. Times are durations (``6m0s``, ``350ms``, ``20``), Unix times in s or ms, or dates.

        Args:
            headers: A case-insensitive mapping, or names in lower case.
            now: The time now, for tests; the reply's own ``date`` header goes first.
        """
        if not any("ratelimit" in name or "retry-after" in name for name in headers):
            return None  # most replies have none, and each look-up below takes microseconds
        now = date(headers.get("date")) or now or datetime.now(UTC)

        def first(what: str, *kinds: str) -> str | None:
            names = [f"x-ratelimit-{what}{kind}" for kind in kinds]
            names += [f"anthropic-ratelimit{kind}-{what}" for kind in kinds if kind]
            return next((value for name in names if (value := headers.get(name))), None)

        info = cls(
            remaining_requests=_count(first("remaining", "-requests", "")),
            remaining_tokens=_count(first("remaining", "-tokens")),
            reset_requests_s=seconds_until(first("reset", "-requests", ""), now),
            reset_tokens_s=seconds_until(first("reset", "-tokens"), now),
            retry_after_s=retry_after_s(headers, now),
        )
        return None if info == cls() else info

    def wait_s(self) -> float | None:
        """Seconds until the endpoint accepts a request; ``None`` if it does now."""
        waits = [self.retry_after_s]
        waits += [self.reset_requests_s] if self.remaining_requests == 0 else []
        waits += [self.reset_tokens_s] if self.remaining_tokens == 0 else []
        return max((wait for wait in waits if wait is not None), default=None)


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Retry-After in seconds, from ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date).

    A date is compared with the reply's own ``date``, so a wrong local clock does no harm.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    return seconds_until(headers.get("retry-after"), date(headers.get("date")) or now or datetime.now(UTC))


def seconds_until(text: str | None, now: datetime) -> float | None:
    """Seconds from ``now`` to the time in a header: a duration, a Unix time or a date.

    ``None`` if the text is none of these, or further away than `_LONGEST_S`, which cannot be meant.
    """
    found = _seconds_until((text or "").strip(), now)
    return found if found is not None and found <= _LONGEST_S else None


def _seconds_until(text: str, now: datetime) -> float | None:
    if (number := _number(text)) is not None:
        if number < _EPOCH_S:
            return number
        return max(0.0, number / (1000 if number >= _EPOCH_MS else 1) - now.timestamp())
    if text and _SPAN.sub("", text) == "":
        return sum(float(value) * _UNITS_S[unit] for value, unit in _SPAN.findall(text))
    until = date(text)
    return None if until is None else max(0.0, (until - now).total_seconds())


def date(text: str | None) -> datetime | None:
    """Parse a date in HTTP or ISO 8601 format; without a time zone it is UTC."""
    for read in (parsedate_to_datetime, datetime.fromisoformat) if text else ():
        try:
            found = read(text or "")
        except ValueError:
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _count(text: str | None) -> int | None:
    value = _number(text)
    return None if value is None else int(value)
