"""Cases of the output: how trainers and Parquet readers read it, and names of clips and subtitle files.

Sources: the dataset code of trl (data_utils.py, sft_trainer.py), ms-swift (preprocessor/core.py) and verl
(multiturn_sft_dataset.py, rl_dataset.py); polars issue 18393 and duckdb issue 4999 (a folder without files); jellyfin
issues 4291 and 7057, mpv issues 14805 and 16060 and iina issue 6196 (names of subtitle files).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl

from lvqa_ray.dataset.shards import fill_empty
from lvqa_ray.qa.formats.text_format import parse_question
from lvqa_ray.qa.question_plan import attributed
from lvqa_ray.qa.time_labels import located
from lvqa_ray.records import CaptionedClip, CaptionedVideo, Clip, Span, Video, VideoInfo
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.stages.merge import MergeCaptions
from lvqa_ray.video.audio.subtitles import sidecar_of
from tests.cases import Row, case

TAKEN = {
    "ms-swift, messages": ("conversation", "conversations", "messages"),
    "ms-swift, query": ("query", "prompt", "input", "instruction", "question", "problem"),
    "ms-swift, response": ("response", "answer", "output", "targets", "answer_key", "solution", "text", "completion"),
    "trl, messages": ("messages", "text"),
    "trl, prompt and completion": ("prompt", "completion", "chosen", "rejected"),
    "verl, supervised": ("messages", "tools", "images", "videos"),
    "verl, reinforcement": ("prompt",),
}
"""Columns in which a trainer looks for its text, most preferred first."""


@case("71", "columns that trainers take")
def trainers(_: Path) -> Iterator[Row]:
    for trainer, names in TAKEN.items():
        expected = ["messages"] if "messages" in names else []
        for table, right in (("data", expected), ("drops", [])):
            schema = SCHEMAS[table]  # type: ignore[index]
            yield f"{trainer}, {table}/", right, [name for name in names if name in schema.names]


@case("72", "tables without rows")
def empty(folder: Path) -> Iterator[Row]:
    fill_empty(folder)
    readers: dict[str, Callable[[str], list[str]]] = {
        "polars, folder": lambda table: pl.scan_parquet(folder / table).collect().columns,
        "polars, pattern": lambda table: pl.scan_parquet(folder / table / "*.parquet").collect().columns,
        "duckdb": lambda table: [*duckdb.read_parquet(f"{folder / table}/*.parquet").columns],
    }
    for name, read in readers.items():
        for table, schema in SCHEMAS.items():
            yield f"{name}: {table}/", f"{len(schema.names)} columns", f"{len(read(table))} columns"


@case("73", "scenes within one second")
def scenes(_: Path) -> Iterator[Row]:
    film = _film([(0.0, 0.6), (0.6, 1.2), (1.2, 4.75)])
    labels = [line.partition(",")[0] for line in film.captions.splitlines()]
    yield "labels", ["From 0.0 to 0.6", "From 0 to 1", "From 1 to 4"], labels
    for label, clips, exact in (
        ("0.0 to 0.6", ("v_0",), (0.0, 0.6)),
        ("0 to 1", ("v_1",), (0.6, 1.2)),
        ("1 to 4", ("v_2",), (1.2, 4.75)),
        ("0 to 4", ("v_0", "v_1", "v_2"), (0.0, 4.75)),
        ("00:01 - 00:04", ("v_2",), (1.2, 4.75)),
        ("2 to 3", ("v_2",), (2.0, 3.0)),
    ):
        step = located(parse_question(REPLY.format(label=label)), film).steps[0]
        yield f"cited: {label}", (clips, exact), (step.clip_ids, (step.span.start_s, step.span.end_s))


@case("74", "categories that nobody requested")
def categories(_: Path) -> Iterator[Row]:
    plan = ["temporal", "goal"]
    for said, expected in (
        (["temporal", "plot"], ["temporal", "goal"]),
        (["Goal", "TEMPORAL"], ["goal", "temporal"]),
        (["counting", "blabla"], ["temporal", "goal"]),
        (["goal", "goal"], ["goal", "goal"]),
    ):
        yield ", ".join(said), expected, attributed(plan, said, plan)


@case("75", "names of subtitle files")
def subtitles(folder: Path) -> Iterator[Row]:
    for number, (names, languages, expected) in enumerate(
        (
            (["film.en.srt"], (), "film.en.srt"),
            (["film.eng.srt"], ("en",), "film.eng.srt"),
            (["film.en-US.srt"], ("en",), "film.en-US.srt"),
            (["film.zh-Hans.vtt"], (), "film.zh-Hans.vtt"),
            (["film.en.forced.srt", "film.en.sdh.srt", "film.en.srt"], (), "film.en.srt"),
            (["film.sdh.en.srt"], ("en",), "film.sdh.en.srt"),
            (["film.forced.srt", "film.de.srt"], (), "film.forced.srt"),
            (["film.English.srt"], (), "film.English.srt"),
            (["film.part2.en.srt"], (), None),
            (["film.en.srt", "film.en.mkv"], (), None),
        )
    ):
        (at := folder / str(number)).mkdir()
        for name in ("film.mp4", *names):
            (at / name).touch()
        found = sidecar_of(str(at / "film.mp4"), languages)
        yield f"{', '.join(names)} for {languages or 'any'}", expected, found and found.path.name


def _film(spans: list[tuple[float, float]]) -> CaptionedVideo:
    video = Video(id="v", uri="/v.mp4", fingerprint="f")
    info = VideoInfo(num_frames=1, height=90, width=160, fps=25.0, duration_sec=spans[-1][1])
    clips = [
        Clip(video=video, info=info, index=index, span=Span(start_s=start, end_s=end), last=index + 1 == len(spans))
        for index, (start, end) in enumerate(spans)
    ]
    (film,) = MergeCaptions()([CaptionedClip(clip=clip, caption="A dog.") for clip in clips])
    if not isinstance(film, CaptionedVideo):
        raise TypeError("the captions are not merged")
    return film


REPLY = """\
QUESTION: What does the dog do?
OPTIONS:
A. It runs
B. It sleeps
C. It eats
D. It swims
ANSWER: A
REASONS:
##### From [{label}]:
- The dog runs.
"""
