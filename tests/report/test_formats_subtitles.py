"""Captions with what subtitles take for more than a letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvqa_ray.cli.export import FOLDERS
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.subtitle_export import export_subtitles
from tests.report.made import make_output

CAPTION = "A & B <i>look</i> --> at {it} in\n\nC:\\New and D:\\home"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("srt", "A & B <i>look</i> \u2192 at (it) in C:\uff3cNew and D:\uff3chome"),
        ("vtt", "A &amp; B &lt;i&gt;look&lt;/i&gt; --&gt; at (it) in C:\uff3cNew and D:\uff3chome"),
    ],
)
def test_a_caption_is_one_cue_with_all_its_letters(tmp_path: Path, form: str, says: str) -> None:
    out = make_output(tmp_path / "out", 1, say=lambda text: CAPTION if "tree 0" in text else text)
    export_subtitles(OutputReader(out), tmp_path / "subs", form)
    lines = (tmp_path / "subs" / f"film-0.{form}").read_text(encoding="utf-8").splitlines()
    assert lines.count(says) == 1
    assert sum("-->" in line for line in lines) == 5


def test_no_export_lands_in_the_folder_of_a_table() -> None:
    assert not set(FOLDERS.values()) & set(SCHEMAS)
