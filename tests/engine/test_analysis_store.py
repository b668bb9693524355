"""Documents of analyses are kept for a while, and only what is known to be too old is removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lvqa_ray.engine.local.analysis_store import AnalysisStore


def document(session: str, days_ago: float) -> dict[str, Any]:
    then = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()
    return {"task": "t", "session": session, "created": then, "updated": then}


def test_what_is_too_old_goes_and_what_cannot_be_read_stays(tmp_path: Path) -> None:
    kept = AnalysisStore(tmp_path, kept_days=7)
    young, old = document("young", 6.9), document("old", 7.1)
    for each in (young, old):
        kept.save(each)
    torn = tmp_path / "analyses" / "t" / "torn.json"
    torn.write_text('{"task": "t", "upd')
    assert kept.of("t") == [young]
    assert (kept.load("t", "old"), kept.load("t", "torn"), kept.load("t", "none")) == (None, None, None)
    assert kept.forget() == 1
    assert sorted(place.name for place in torn.parent.iterdir()) == ["torn.json", "young.json"]
    assert kept.forget() == 0
