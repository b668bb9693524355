"""The id of a run: the time at which it began, made later than every earlier run of the same output.

Run ids order outcomes and the segments of the journal. A clock that was ahead, or that was set back, must not make the
rows of a later run the older ones: the id is then the latest id that the output holds, and a microsecond.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

FORM = "%Y%m%dT%H%M%S%fZ"
_ID = re.compile(r"(?<!\d)\d{8}T\d{12}Z")


def next_run_id(known: Iterable[str]) -> str:
    """A run id that sorts behind all others.

    Args:
        known: Run ids, and names of files that hold one, such as segments of the journal.
    """
    now = f"{datetime.now(UTC):{FORM}}"
    latest = max((found[0] for name in known if (found := _ID.search(name))), default="")
    if latest < now:
        return now
    return f"{datetime.strptime(latest, FORM) + timedelta(microseconds=1):{FORM}}"
