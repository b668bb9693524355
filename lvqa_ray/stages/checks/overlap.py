"""Benchmark overlap check (decontamination): questions about videos of a benchmark, or asked by one."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ConfigError
from lvqa_ray.records import AskedQuestion, CaptionedVideo, Verdict, Video
from lvqa_ray.records.uri import base_name
from lvqa_ray.stage import Check

ID_FIELDS = ("videoID", "video_id", "youtube_id", "video", "video_path", "video_name", "key", "vid")
CONTENT_FIELDS = ("fingerprint", "content_hash")
QUESTION_FIELDS = ("question", "problem", "query", "full_question")
"""Fields of a benchmark file, as Video-MME, LongVideoBench, MLVU, LVBench and outputs of lvqa-ray name them."""
_OF_ROWS = frozenset({*ID_FIELDS, *CONTENT_FIELDS, *QUESTION_FIELDS})
_CONTAINERS = frozenset(
    {"annotations", "captions", "conversations", "database", "dataset", "entries", "examples", "questions", "qa_pairs",
     "records", "results", "samples", "subsets", "testing", "training", "validation", "videos"}
)  # fmt: skip
"""Keys of lists and objects that name no video, as far as they are as long as an id."""
SHORTEST_ID = 6
"""Shorter ids, such as 001, name a row and no video (characters)."""
FEWEST_WORDS = 4
"""Questions with fewer words are too common to prove an overlap; a CJK character counts as half a word."""


@plain_dataclass(frozen=True, slots=True)
class Benchmark:
    """What a benchmark file lists: video ids in lower case, content hashes, and normalized questions."""

    name: str
    videos: set[str] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)
    questions: set[str] = field(default_factory=set)

    def video_match(self, video: Video) -> str:
        """Why a video is in the benchmark; empty if it is not."""
        if video.fingerprint and video.fingerprint in self.contents:
            return f"the video is in {self.name}, by its content"
        names = {_video_name(video.id), _video_name(base_name(video.uri))}
        return f"the video is in {self.name}, by its name" if names & self.videos else ""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckOverlap(Check):
    """Compare each question, and its video, with benchmarks that the data must not contain.

    A video matches by its id or file name without suffix, or by its fingerprint; a question by its words, without case,
    punctuation and options.
    """

    name: ClassVar[str] = "overlap"

    policy: Literal["off", "mark", "drop"] = Field(
        default="drop", description="Action on a question that a benchmark contains, or whose video it contains."
    )
    against: tuple[str, ...] = Field(
        default=(),
        description="Benchmark files with video ids, content hashes (`fingerprint`) or questions: .json, .jsonl, .csv, "
        ".parquet, or .txt with one question or video id per line. On a cluster, all nodes must be able to read them.",
    )

    def judge(self, asked: AskedQuestion, video: CaptionedVideo) -> Verdict:
        """Report the first benchmark that matches."""
        text = normalized(asked.question.question)
        for path in self.against:
            try:
                benchmark = read_benchmark(path)
            except ConfigError as error:  # the start of the run has read it, so it is missing on this node
                return self.failed(f"it could not be checked: {error}")
            if fault := benchmark.video_match(video.video):
                return self.failed(fault)
            if text and text in benchmark.questions:
                return self.failed(f"the question is in {benchmark.name}")
        return self.passed()


@lru_cache(maxsize=16)
def read_benchmark(path: str) -> Benchmark:
    """Read a benchmark file.

    Raises:
        ConfigError: It cannot be read, or has none of the fields; the message names the file and the fields.
    """
    file = Path(path)
    found = Benchmark(file.stem)
    try:
        for row in _benchmark_rows(file):
            _add(found, row)
    except OSError as error:
        raise ConfigError(f"checks.overlap: {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, csv.Error) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"checks.overlap: {path} is no {file.suffix.lstrip('.') or 'text'} file: {reason}.") from None
    if not (found.videos or found.contents or found.questions):
        fields = ", ".join((*ID_FIELDS, *CONTENT_FIELDS, *QUESTION_FIELDS))
        raise ConfigError(f"checks.overlap: {path} lists no video and no question: name its fields as one of {fields}.")
    return found


def normalized(question: str) -> str:
    """The words of a question without case and punctuation; empty if they are too few to compare."""
    plain = unicodedata.normalize("NFKC", question).casefold()
    words = "".join(sign if sign.isalnum() else " " for sign in plain).split()
    size = sum(max(1.0, 0.5 * sum(sign > "\u2e80" for sign in word)) for word in words)
    return " ".join(words) if size >= FEWEST_WORDS else ""


def _add(found: Benchmark, row: Mapping[str, Any]) -> None:
    for name in ID_FIELDS:
        if isinstance(value := row.get(name), str) and len(video := _video_name(base_name(value))) >= SHORTEST_ID:
            found.videos.add(video)
    found.contents.update(value for name in CONTENT_FIELDS if isinstance(value := row.get(name), str) and value)
    for name in QUESTION_FIELDS:
        if isinstance(value := row.get(name), str) and (text := normalized(value)):
            found.questions.add(text)
    for inner in row.values():  # questions grouped by video, as in LVBench
        for each in inner if isinstance(inner, list) else ():
            if isinstance(each, Mapping):
                _add(found, each)


def _benchmark_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    match path.suffix.lower():
        case ".parquet":
            import pyarrow.parquet as pq  # noqa: PLC0415 - Arrow takes a second to import

            names = [
                name for name in pq.read_schema(path).names if name in (*ID_FIELDS, *CONTENT_FIELDS, *QUESTION_FIELDS)
            ]
            for batch in pq.ParquetFile(path).iter_batches(columns=names):
                yield from batch.to_pylist()
        case ".json":
            yield from _objects(json.loads(path.read_text(encoding="utf-8-sig")))
        case ".jsonl" | ".ndjson":
            with path.open(encoding="utf-8-sig") as lines:
                yield from _objects(json.loads(line) for line in lines if line.strip())
        case ".csv" | ".tsv":
            with path.open(encoding="utf-8-sig", newline="") as lines:
                yield from csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        case _:
            for line in path.read_text(encoding="utf-8-sig").splitlines():
                yield (
                    {"question": line} if " " in line.strip() or line.strip() > "\u2e80" else {"video_id": line.strip()}
                )


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects of a list, of an object of lists, or of an object whose keys are video ids.

    A key of a list is a video id if the list has objects, and neither these nor the object around it name a video.
    """
    if isinstance(value, Mapping):
        yield value
        is_row = not _OF_ROWS.isdisjoint(value)
        for key, inner in value.items():
            named = {} if key.casefold() in _CONTAINERS else {"video_id": key}
            if isinstance(inner, Mapping):
                yield {**named, **inner}
            rows = [each for each in inner if isinstance(each, Mapping)] if isinstance(inner, list) else []
            if rows and not is_row and not any(map(_names_a_video, rows)):
                yield named
            if isinstance(inner, Mapping) and not is_row and (not named or len(key) < SHORTEST_ID):
                yield from _objects(inner)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for each in value:
            yield from _objects(each)


def _names_a_video(row: Mapping[str, Any]) -> bool:
    return any(row.get(name) for name in ID_FIELDS)


def _video_name(name: str) -> str:
    """A video id or file name in lower case, without the suffix of a video file."""
    stem, dot, suffix = name.strip().rpartition(".")
    return (stem if dot and suffix.isalnum() and len(suffix) <= 4 else name.strip()).casefold()
