"""``report.html``: an output in one file that opens from disk and asks nobody."""

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

from lvqa_ray.dataset.reader import OutputReader, opened
from lvqa_ray.dataset.statistics.report_numbers import Numbers, count
from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.book import Book
from lvqa_ray.journal.costs import Spent, total
from lvqa_ray.records import Video, VideoInfo
from lvqa_ray.report import analysis_view, charts, films, overview, thumbnails
from lvqa_ray.report.replay import ClipIndex, Exchange, Replay, Row
from lvqa_ray.report.sampling import chosen

MOST_BYTES = 20_000_000
TEXT_BYTES = 11_000_000
"""Of the page's size, what the records' texts may take; thumbnails get what is left."""
MARGIN_BYTES = 500_000
MOST_VIDEOS = 250
LEAST_PROMPTS_S = 30.0
"""How long prompts may be looked up where thumbnails get less time, or none."""
MOST_OF_ONE = 1_500_000
"""A video whose texts are larger than this (bytes, packed) is shown without its prompts."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was written.

    Attributes:
        path: The file.
        bytes: Its size.
        videos: Videos that it shows one by one.
        of: Videos that have an outcome.
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
    """Write the report of an output, whether its run is over or not.

    Args:
        output: Output of a run, or its folder.
        to: The file; else ``report.html`` in the folder.
        found: Knows the clips of videos, for the prompts of their captions.
        within_s: How long thumbnails may be taken; prompts may be looked up for as long again, or `LEAST_PROMPTS_S`.

    Raises:
        ConfigError: There is no output, a shard cannot be read, or the file cannot be written.
    """
    output = opened(output) if isinstance(output, Path) else output
    numbers, book = count(output), Book(output.journal)
    packed = _packed(output, chosen(output, MOST_VIDEOS), book, found, within_s)
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


def _packed(output: OutputReader, videos: list[str], book: Book, found: ClipIndex | None, within_s: float) -> _Packed:
    """As many of the videos as there is room for, with thumbnails for as many of them as there is room and time for."""
    replay = Replay(output.job, book, found) if output.job else None
    end = time.monotonic() + max(within_s, LEAST_PROMPTS_S)
    texts: list[films.Film] = []
    room = TEXT_BYTES

    def told(video: Video, info: VideoInfo, clips: Sequence[Row]) -> list[Exchange] | None:
        return replay(video, info, clips) if replay and time.monotonic() < end else None

    for film in films.films(output, videos, told if replay else None):
        if len(_pack(film)) > MOST_OF_ONE:
            film |= {
                "said": [],
                "unsaid": "The prompts of this video are left out: they would make the page too large.",
            }
            for question in film["questions"]:
                question["said"] = []
        room -= len(_pack(film)) + len(_pack(_entries(0, film)))
        if room < 0:
            break
        texts.append(film)
    strips = dict(_strips(texts, MOST_BYTES - MARGIN_BYTES - (TEXT_BYTES - max(0, room)), within_s))
    texts.sort(key=lambda film: films.natural(film["id"]))
    entries = [entry for number, film in enumerate(texts) for entry in _entries(number, film)]
    return _Packed([(_pack(film), strips.get(film["id"], "")) for film in texts], _pack(entries), len(texts))


def _strips(texts: list[films.Film], room: int, within_s: float) -> Iterator[tuple[str, str]]:
    """Thumbnails by video, and in the film what is to be known of them."""
    wanted = {film["id"]: (film["video"], films.stretches(film)) for film in texts if film["clips"]}
    of = {film["id"]: film for film in texts}
    for video, strip in thumbnails.strips(wanted, within_s=within_s):
        jpeg = base64.b64encode(strip.jpeg).decode()
        room -= len(jpeg)
        if room < 0:
            return
        film = of[video]
        film["strip"] = {
            "width": strip.width,
            "height": strip.height,
            "times": strip.times,
            "grid": films.GRID,
            "spans": films.spans(film),
        }
        yield video, jpeg


def _entries(number: int, film: films.Film) -> list[list[Any]]:
    """What the list shows and finds of a video; see page.js for the order."""
    entries: list[list[Any]] = []
    for place, question in enumerate(film["questions"]):
        faults = [check["check"] for check in question["checks"] if not check["passed"]]
        drop = question.get("drop") or {}
        reasons = [reason for step in question["steps"] for reason in step["reasons"]]
        text = "\n".join([question["question"], *(text or "" for text in question["options"].values()), *reasons])
        title = question["question"] or drop.get("reason") or question["id"]
        what = [question["fate"], question["category"], faults, drop.get("check", ""), ""]
        entries.append([number, place, question["id"], *what, title, text or title])
    if film["failure"]:
        failure = film["failure"]
        said = failure["message"] or failure["kind"]
        entries.append([number, -1, film["id"], "failed", "", [], "", failure["kind"], said, said])
    elif not film["questions"]:
        lost = [f"{one['task']}: {one['failure']['kind']}" for one in film["results"] if one["failure"]]
        text = "\n".join(one["text"] for one in film["results"])
        title = analysis_view.title(film["results"], film["id"])
        entries.append([number, -1, film["id"], "analyzed", "", lost, "", "", title, text or title])
    return entries


def _pack(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(errors="replace"), 9)).decode()


def _page(output: OutputReader, numbers: Numbers, book: Book, packed: _Packed) -> bytes:
    room = files("lvqa_ray.report")
    js = (room / "page.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"whole": "{:,}".format, "dollars": overview.dollars, "seconds": overview.seconds}
    template = environment.from_string((room / "page.html.j2").read_text(encoding="utf-8"))
    bill = total(spent for models in book.spent.values() for spent in models.values())
    return template.render(
        **overview.words(output, numbers, bill, packed.shown),
        name=output.name,
        css=Markup((room / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        js=Markup(js),  # noqa: S704 - our own file
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(js.encode()).digest()).decode()}",
        numbers=numbers,
        costs=list(_costs(book.spent)),
        bill=bill,
        rate=charts.rate(book.paces, overview.stages(book.paces)),
        waits=charts.waits(book.paces, overview.stages(book.paces)),
        clip_lengths=charts.histogram(numbers.clip_seconds),
        index=packed.index,
        films=packed.films,
        made=f"Made by lvqa-ray {version('lvqa-ray')} on {time.strftime('%Y-%m-%d at %H:%M UTC', time.gmtime())}.",
    ).encode(errors="replace")


def _costs(spent: Mapping[str, Mapping[str, Spent]]) -> Iterator[tuple[str, str, Spent]]:
    for stage in overview.stages(spent):
        for model, paid in spent[stage].items():
            yield stage, model, paid
