"""Exports of one small output in every trainer format, for `check_readers.py`; runs in the project's environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from lvqa_ray.dataset.reader import opened
from lvqa_ray.report.exports import Request, write_export
from lvqa_ray.report.trainers.formats import TRAINER_FORMATS
from lvqa_ray.report.trainers.training_sample import SampleStyle
from tests.media import make_video
from tests.report.made import make_output

NAUGHTY = '</think> <video> "quoted" \n new line {{ 7 * 7 }} 🎬 <image>'


def main(to: Path) -> None:
    """Write an output whose videos exist, and its exports, into a folder."""
    videos = to / "films"
    videos.mkdir(parents=True)
    film = videos / "film.mp4"
    make_video(film, seconds=4.0)
    out = make_output(to / "out", 12, say=lambda text: f"{text} {NAUGHTY}", video=str(film))
    clips = pq.read_table(out / "clips" / "part-1.parquet")
    rows = [row | {"media_path": str(film)} for row in clips.to_pylist()]
    pq.write_table(clips.from_pylist(rows, clips.schema), out / "clips" / "part-1.parquet")
    style = SampleStyle(answer="think_tagged")
    for form, made_by in TRAINER_FORMATS.items():
        suffix = "parquet" if made_by.schema else "jsonl"
        write_export(opened(out), to / f"{form}.{suffix}", Request(form=form, style=style))
    for form in ("dpo", "dpo-llamafactory", "dpo-ms-swift"):
        write_export(opened(out), to / f"{form}.jsonl", Request(form=form, style=style))
    for form in ("llamafactory", "lmms-eval", "webdataset"):
        write_export(opened(out), to / form, Request(form=form, style=style, fraction=0.4))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
