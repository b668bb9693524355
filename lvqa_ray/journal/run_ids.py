"""Run ids: the start time of a run, later than that of all earlier runs of the same output.

Run ids order outcomes and segments. After the system clock was set back, rows of a later run must not look older: the
id is then the latest known id plus one microsecond.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

FORM = "%Y%m%dT%H%M%S%fZ"
_ID = re.compile(r"(?<!\d)\d{8}T\d{12}Z")


def next_run_id(known: Iterable[str]) -> str:
    """A run id that sorts after all known ones.

    Args:
        known: Run ids, or file names that contain one, such as those of segments.
    """
    now = f"{datetime.now(UTC):{FORM}}"
    latest = max((found[0] for name in known if (found := _ID.search(name))), default="")
    if latest < now:
        return now
    return f"{datetime.strptime(latest, FORM) + timedelta(microseconds=1):{FORM}}"
