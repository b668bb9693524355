"""HTML report of an output: one ``report.html`` that opens from disk and makes no network request."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lvqa_ray.config import in_order
from lvqa_ray.dataset.reader import OutputReader, opened
from lvqa_ray.dataset.statistics.output_statistics import OutputStatistics, count
from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.book import Book
from lvqa_ray.journal.costs import total
from lvqa_ray.records import Usage, Video, VideoInfo
from lvqa_ray.records.row import TableRow
from lvqa_ray.report import analysis_view, charts, films, overview
from lvqa_ray.report.replay import ClipIndex, Exchange, Replay
from lvqa_ray.report.sampling import chosen
from lvqa_ray.report.thumbnails import Thumbnailer

PAGE_BYTES = 20_000_000
TEXT_BYTES = 11_000_000
"""Share of `PAGE_BYTES` for the texts of records; thumbnails get the rest."""
MARGIN_BYTES = 500_000
MOST_VIDEOS = 250
LEAST_PROMPTS_S = 30.0
"""Shortest time limit (s) for looking up prompts, also if thumbnails get less."""
MOST_OF_ONE = 1_500_000
"""A video with more text than this (bytes, compressed) is shown without its prompts."""
MOST_REASON_CHARS = 300
"""Maximum characters of the reason for a drop in the list; the record shows all of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """Result of writing a report.

    Attributes:
        path: The file.
        bytes: Its size.
        videos: Number of videos shown individually.
        of: Number of videos with an outcome.
    """

    path: str
    bytes: int
    videos: int
    of: int


@dataclass(frozen=True, slots=True)
class _Packed:
    films: list[tuple[str, str]]
    index: str
    shown: int


def write_report(
    output: OutputReader | Path, to: Path | None = None, *, found: ClipIndex | None = None, within_s: float = 120.0
) -> Report:
    """Write the report of an output. Its run may still be in progress.

    Args:
        output: Output of a run, or its folder.
        to: File to write; default ``report.html`` in the folder.
        found: Index of the videos' clips, which caption prompts are rebuilt from.
        within_s: Time limit for thumbnails; looking up prompts has the same limit, but at least `LEAST_PROMPTS_S`.

    Raises:
        ConfigError: There is no output, a shard cannot be read, or the file cannot be written.
    """
    output = opened(output) if isinstance(output, Path) else output
    with Thumbnailer(within_s=within_s) as thumbnailer:
        numbers, book = count(output), Book(output.journal)
        prompts_s = max(within_s, LEAST_PROMPTS_S)
        shown = chosen(output, MOST_VIDEOS)
        packed = _packed(output, shown, book, found, prompts_s=prompts_s, thumbnailer=thumbnailer)
    html = _page(output, numbers, book, packed)
    path = to or output.folder / "report.html"
    try:
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_bytes(html)
            partial.replace(path)
        else:
            path.write_bytes(html)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from None
    return Report(str(path), len(html), packed.shown, numbers.with_records + numbers.alone + numbers.failures)


def _packed(
    output: OutputReader,
    videos: list[str],
    book: Book,
    found: ClipIndex | None,
    *,
    prompts_s: float,
    thumbnailer: Thumbnailer,
) -> _Packed:
    """Pack as many videos as fit into `TEXT_BYTES`, then thumbnails within the remaining size."""
    replay = Replay(output.job, book, found) if output.job else None
    end = time.monotonic() + prompts_s
    texts: list[films.Film] = []
    budget = TEXT_BYTES

    def find_exchanges(video: Video, info: VideoInfo, clips: Sequence[TableRow]) -> list[Exchange] | None:
        return replay(video, info, clips) if replay and time.monotonic() < end else None

    for film in films.films(output, videos, find_exchanges if replay else None):
        if len(_pack(film)) > MOST_OF_ONE:
            film |= {
                "said": [],
                "unsaid": "The prompts of this video are left out: they would make the page too large.",
            }
            for question in film["questions"]:
                question["said"] = []
        budget -= len(_pack(film)) + len(_pack(_entries(0, film)))
        if budget < 0:
            break
        texts.append(film)
    strips = dict(_strips(texts, PAGE_BYTES - MARGIN_BYTES - (TEXT_BYTES - max(0, budget)), thumbnailer))
    texts.sort(key=lambda film: films.natural(film["id"]))
    entries = [entry for number, film in enumerate(texts) for entry in _entries(number, film)]
    return _Packed([(_pack(film), strips.get(film["id"], "")) for film in texts], _pack(entries), len(texts))


def _strips(texts: list[films.Film], budget: int, thumbnailer: Thumbnailer) -> Iterator[tuple[str, str]]:
    """Yield video id and base64 contact sheet within a budget of bytes; adds the sheet's layout to the video's data."""
    wanted = {film["id"]: (film["video"], films.stretches(film)) for film in texts if film["clips"]}
    of = {film["id"]: film for film in texts}
    for video, strip in thumbnailer.strips(wanted):
        jpeg = base64.b64encode(strip.jpeg).decode()
        budget -= len(jpeg)
        if budget < 0:
            return
        film = of[video]
        film["strip"] = {
            "width": strip.width,
            "height": strip.height,
            "times": strip.times,
            "grid": films.GRID,
            "spans": films.spans(film),
            "frames": films.shown_frames(film),
        }
        yield video, jpeg


def _entries(number: int, film: films.Film) -> list[list[Any]]:
    """List entries of a video, as shown and searched; list.js documents the order of fields."""
    entries: list[list[Any]] = []
    for index, question in enumerate(film["questions"]):
        faults = [check["check"] for check in question["checks"] if not check["passed"]]
        drop = question.get("drop") or {}
        reasons = [reason for step in question["steps"] for reason in step["reasons"]]
        text = "\n".join([question["question"], *(text or "" for text in question["options"].values()), *reasons])
        title = question["question"] or drop.get("reason") or question["id"]
        what = [question["fate"], question["category"], faults, drop.get("check", ""), ""]
        scores = {
            check["check"]: round(check["score"], 4) for check in question["checks"] if check["score"] is not None
        }
        why = str(drop.get("reason") or "")[:MOST_REASON_CHARS]
        entries.append(
            [number, index, question["id"], *what, title, f"{text or title}\n{why}", scores, why, question["kind"]]
        )
    if film["failure"]:
        failure = film["failure"]
        message = failure["message"] or failure["kind"]
        entries.append([number, -1, film["id"], "failed", "", [], "", failure["kind"], message, message, {}, "", ""])
    elif not film["questions"]:
        lost = [f"{one['task']}: {one['failure']['kind']}" for one in film["results"] if one["failure"]]
        text = "\n".join(one["text"] for one in film["results"])
        title = analysis_view.title(film["results"], film["id"])
        entries.append([number, -1, film["id"], "analyzed", "", lost, "", "", title, text or title, {}, "", ""])
    return entries


def _pack(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(errors="replace"), 9)).decode()


def _page(output: OutputReader, numbers: OutputStatistics, book: Book, packed: _Packed) -> bytes:
    package = files("lvqa_ray.report")
    js = "".join((package / name).read_text(encoding="utf-8") for name in ("record.js", "page.js", "list.js"))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"whole": "{:,}".format, "percent": overview.percent}
    environment.filters |= {"dollars": overview.dollars, "seconds": overview.seconds}
    template = environment.from_string((package / "page.html.j2").read_text(encoding="utf-8"))
    bill = total(spent for models in book.spent.values() for spent in models.values())
    return template.render(
        **overview.words(output, numbers, bill, packed.shown),
        name=output.name,
        css=Markup((package / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        js=Markup(js),  # noqa: S704 - our own file
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(js.encode()).digest()).decode()}",
        numbers=numbers,
        costs=list(_costs(book.spent)),
        bill=bill,
        rate=charts.rate(book.paces, in_order(book.paces)),
        waits=charts.waits(book.paces, in_order(book.paces)),
        clip_lengths=charts.histogram(numbers.clip_seconds),
        index=packed.index,
        films=packed.films,
        made=f"Made by lvqa-ray {version('lvqa-ray')} on {time.strftime('%Y-%m-%d at %H:%M UTC', time.gmtime())}.",
    ).encode(errors="replace")


def _costs(spent: Mapping[str, Mapping[str, Usage]]) -> Iterator[tuple[str, str, Usage]]:
    for stage in in_order(spent):
        for model, paid in spent[stage].items():
            yield stage, model, paid
