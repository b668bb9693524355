"""Formats times as timecodes and as the clock of a player."""

from __future__ import annotations

import math

from lvqa_ray.records.rows import Span


def timecode(seconds: float) -> str:
    """Write a time as ``HH:MM:SS.mmm``.

    Rounds to milliseconds before it splits into units, so seconds never read ``60.000``.

    Raises:
        ValueError: The time is negative or no number.
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"a time must be a finite number of at least 0, not {seconds}")
    total_s, ms = divmod(round(seconds * 1000), 1000)
    total_min, s = divmod(total_s, 60)
    h, m = divmod(total_min, 60)
    return f"{h:02d}:{m:02d}:{s:02d}.{ms:03d}"


def clock(seconds: float) -> str:
    """Write a time as a player shows it: ``00:01``, and ``01:00:01`` from one hour on."""
    minutes, s = divmod(int(seconds), 60)
    h, m = divmod(minutes, 60)
    return f"{h:02d}:{m:02d}:{s:02d}" if h else f"{m:02d}:{s:02d}"


def clocks(span: Span) -> str:
    """Write both ends of a span as `clock` does, with hundredths if it is shorter than a second."""
    if span.duration_s >= 1:
        return f"{clock(span.start_s)}-{clock(span.end_s)}"
    ends = (math.floor(round(100 * at, 6)) for at in (span.start_s, span.end_s))
    return "-".join(f"{clock(end // 100)}.{end % 100:02d}" for end in ends)


def frame_range(span: Span, fps: float) -> tuple[int, int]:
    """Frame numbers of both ends of a span: ``floor(seconds * fps)``, after rounding off floating-point errors."""
    return math.floor(round(span.start_s * fps, 6)), math.floor(round(span.end_s * fps, 6))
