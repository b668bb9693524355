"""Summary of what a language model wrote: replies, questions that could be read, and what the checks did to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from lvqa_ray.cli.display.layout import pairs, show
from lvqa_ray.cli.display.terminal import data, plain, talk

UNREAD = "ask"
"""The check of a drop whose text no parser could read."""


def print_writer_summary(folder: Path, model: str) -> None:
    """Print what became of the questions that a model was asked to write, from an output folder.

    Args:
        folder: Path of the output.
        model: Name of the model, for the title.
    """
    from lvqa_ray.dataset.reader import OutputReader  # noqa: PLC0415 - Arrow takes a second to import

    reader = OutputReader(folder)
    kept = reader.rows("data", ["kind"])["kind"].to_pylist()
    made = pairs(f"Questions by {model}")
    for label, value in _lines(
        _calls(reader.run),
        kept,
        reader.rows("drops", ["check", "kind"]).to_pylist(),
        reader.rows("failures", ["stage", "kind", "requested_categories"]).to_pylist(),
    ):
        made.add_row(plain(label), plain(value))
    show(data, made)
    if "order" in kept:
        talk.print("Questions about the order of moments are written from the captions by rules, without a model.")


def _calls(run: object) -> int:
    """Replies of the run that the stage `ask` got from its model."""
    spent = ((run if isinstance(run, dict) else {}).get("summary") or {}).get("spent") or {}
    asked = spent.get(UNREAD) or {}
    return int(asked.get("calls", 0)) + int(asked.get("cached", 0))


def _lines(
    calls: int, kept: Iterable[str | None], drops: list[dict[str, str]], failures: list[dict[str, object]]
) -> Iterator[tuple[str, str]]:
    by_rule = sum(kind == "order" for kind in kept)
    written = sum(kind != "order" for kind in kept)
    unread = Counter(drop["kind"] for drop in drops if drop["check"] == UNREAD)
    for failure in failures:
        if failure["stage"] == UNREAD:
            requested = failure["requested_categories"]
            unread[str(failure["kind"])] += len(requested) if isinstance(requested, list) else 1
    rejected = Counter(drop["check"] for drop in drops if drop["check"] != UNREAD)
    yield "replies", f"{calls:,}"
    yield "questions requested", f"{unread.total() + rejected.total() + written + by_rule:,}"
    yield "  no question could be read", _counted(unread)
    yield "  read, and rejected by a check", _counted(rejected)
    yield "  written by rules, and kept", f"{by_rule:,}"
    yield "  written by the model, and kept", f"{written:,}"


def _counted(counts: Counter[str]) -> str:
    details = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    return f"{counts.total():,}" + (f" ({details})" if details else "")
