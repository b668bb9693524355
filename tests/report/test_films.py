"""What is said where prompts are not shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.records import Video
from lvqa_ray.report import page
from lvqa_ray.report.films import films
from lvqa_ray.report.replay import Exchange
from tests.report.made import make_output


@pytest.fixture
def output(tmp_path: Path) -> OutputReader:
    output = OutputReader(make_output(tmp_path / "out", 2))
    vars(output)["job"] = SimpleNamespace(job_hash="j")
    return output


def test_no_time_is_told_apart_from_no_answers(output: OutputReader) -> None:
    (late,) = films(output, ["film-0"], lambda *_: None)
    assert late["unsaid"] == "There was no time to look up its prompts; `lvqa report --seconds 600` does."
    (empty,) = films(output, ["film-0"], lambda *_: [])
    assert empty["unsaid"] == "The journal holds no answers to this video's prompts."


def test_without_thumbnails_prompts_are_looked_up(output: OutputReader, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def told(video: Video, *_: Any) -> list[Exchange]:
        asked.append(video.id)
        return []

    def replay(*_: Any) -> Any:
        return told

    monkeypatch.setattr(page, "Replay", replay)
    page.write_report(output, within_s=0)
    assert sorted(asked) == ["film-0", "film-1"]
