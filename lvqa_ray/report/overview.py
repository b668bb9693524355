"""Overview texts of a report: a headline, banners, and a few numbers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.statistics.output_statistics import OutputStatistics
from lvqa_ray.records import Usage


class DropKind(NamedTuple):
    """Questions that a check dropped for one kind of reason."""

    check: str
    kind: str
    number: int
    reason: str


def words(output: OutputReader, numbers: OutputStatistics, bill: Usage, shown: int) -> dict[str, Any]:
    """Texts of the page's overview section."""
    return {
        "headline": _headline(output, numbers),
        "banners": list(_banners(output, numbers)),
        "tiles": list(_tiles(output, numbers, bill)),
        "fates": _fates(numbers),
        "drops": drop_kinds(output),
        "shown": _shown(numbers, shown),
        **_watched(numbers),
    }


def _watched(numbers: OutputStatistics) -> dict[str, Any]:
    """Texts about sampled answers: pass@k as a histogram, and success from captions against that from the film."""
    audit = numbers.audit
    passes = ", ".join(f"pass@{k} {100 * rate:.0f} %" for k, rate in audit.pass_at.items())
    rows = audit.success.items() if audit.watched else ()
    return {
        "film_rates": {f"{100 * float(rate):.0f} %": number for rate, number in audit.watched.items()},
        "passes": f"{passes}." if passes else "",
        "success": [(name, *(_percent(found[check].mean) for check in ("solve", "watch"))) for name, found in rows],
    }


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _headline(output: OutputReader, numbers: OutputStatistics) -> str:
    job = output.run.get("job") or {}
    models = dict.fromkeys(_models(job.get("endpoints") or {}))
    kept = f"{_plural(numbers.questions.kept, 'question')} about {_plural(numbers.with_records, 'video')}"
    if numbers.alone:
        analyzed = f"{_plural(numbers.alone, 'video')} analyzed"
        kept = f"{analyzed} and {kept}" if numbers.questions.kept else analyzed
    return f"{kept}{', made with ' + ' and '.join(models) if models else ''}."


def _models(endpoints: Mapping[str, Any]) -> Iterable[str]:
    for role in endpoints.values():
        for at in role if isinstance(role, list) else [role]:
            if isinstance(at, dict) and at.get("model"):
                yield str(at["model"])


def _banners(output: OutputReader, numbers: OutputStatistics) -> Iterable[tuple[str, str]]:
    summary = output.run.get("summary") or {}
    if summary.get("halted"):
        yield "bad", f"The run stopped before its end: {summary['halted']}"
    elif not output.run.get("finished", False):
        yield "warn", "The run is in progress, or was killed: the numbers are those of its output so far."
    verdict = summary.get("verdict") or {}
    for problem in verdict.get("problems") or []:
        yield "bad", str(problem)
    if numbers.unfinished and output.run.get("finished"):
        yield "warn", f"{_plural(numbers.unfinished, 'video')} of the last run have no outcome here."


def _tiles(output: OutputReader, numbers: OutputStatistics, bill: Usage) -> Iterable[tuple[str, str, str]]:
    failed = f"{numbers.failures:,} failed" if numbers.failures else "none failed"
    yield "Videos with questions", f"{numbers.with_records:,}", f"of {numbers.videos:,}, {failed}"
    yield (
        "Questions kept",
        f"{numbers.questions.kept:,}",
        f"of {numbers.questions.asked:,} requested{_share(numbers.questions.kept, numbers.questions.asked)}",
    )
    yield "Length of the videos", seconds(3600 * numbers.hours), "of those with questions"
    if numbers.results:
        lost = sum(fates["failed"] for fates in numbers.results.values())
        made = sum(fates["made"] for fates in numbers.results.values())
        yield "Results about whole videos", f"{made:,}", f"{lost:,} failed" if lost else "none failed"
    tokens = bill.input_tokens + bill.output_tokens
    if bill.cost_usd is not None:
        yield "Cost", dollars(bill.cost_usd), f"{_short(tokens)} tokens"
        if numbers.questions.kept:
            yield "Cost per question", dollars(bill.cost_usd / numbers.questions.kept), "that was kept"
    else:
        yield "Tokens", _short(tokens), f"in {bill.calls:,} calls; no price is known"
        if numbers.questions.kept:
            yield "Tokens per question", _short(round(tokens / numbers.questions.kept)), "that was kept"
    taken = (output.run.get("summary") or {}).get("seconds")
    if taken:
        begun = re.match(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)", str(output.run["summary"].get("run_id", "")))
        when = "begun {}-{}-{} {}:{} UTC".format(*begun.groups()) if begun else ""
        yield "Time of the last run", seconds(taken), when


def _fates(numbers: OutputStatistics) -> list[tuple[str, list[tuple[str, int, str]]]]:
    dropped = [(f"dropped by {check}", number, "quiet") for check, number in numbers.dropped.items()]
    return [
        (
            "Videos",
            [
                ("with questions", numbers.with_records, "good"),
                *([("analyzed only", numbers.alone, "good")] if numbers.alone else []),
                ("failed", numbers.failures, "bad"),
                ("without outcome", numbers.unfinished, "quiet"),
            ],
        ),
        (
            "Clips",
            [
                ("captioned", numbers.clips["captioned"], "good"),
                ("failed", numbers.clips["failed"], "bad"),
                ("left out by filters", numbers.clips["filtered"], "quiet"),
            ],
        ),
        ("Questions", [("kept", numbers.questions.kept, "good"), *dropped]),
    ]


def drop_kinds(output: OutputReader) -> list[DropKind]:
    """The kinds of drops, the most frequent first, each with its most frequent reason."""
    table = output.rows("drops", ["check", "kind", "reason"])
    reasons: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for check, kind, reason in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        reasons[check, kind][reason or ""] += 1
    kinds = [
        DropKind(check, kind, counts.total(), counts.most_common(1)[0][0]) for (check, kind), counts in reasons.items()
    ]
    return sorted(kinds, key=lambda kind: -kind.number)


def _shown(numbers: OutputStatistics, shown: int) -> str:
    there = numbers.with_records + numbers.alone + numbers.failures
    if shown >= there:
        return "All results and failures of the run. The numbers above and this list are about the same videos."
    return (
        f"A sample: {shown:,} of {there:,} videos, some of each category, check and failure, and the rest at random. "
        "The numbers above are about all of them."
    )


def dollars(amount: float | None) -> str:
    """Short text of an amount in dollars."""
    if amount is None:
        return "not known"
    return f"${amount:,.2f}" if amount >= 0.1 or not amount else f"${amount:.5f}"


def percent(share: float | None) -> str:
    """Text of a share; empty if it is unknown."""
    return "" if share is None else f"{100 * share:.0f} %"


def seconds(length: float) -> str:
    """Short text of a duration (s)."""
    if length < 1:
        return f"{1000 * length:.2g} ms" if length < 0.1 else f"{1000 * length:.0f} ms"
    if length < 10:
        return f"{length:.1f} s"
    if length < 120:
        return f"{length:.0f} s"
    return f"{length / 60:.0f} min" if length < 7200 else f"{length / 3600:.1f} h"


def _plural(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.0f} %)" if whole else ""


def _short(number: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1000 if unit == 'k' else size):.3g}{unit}"
    return f"{number:,}"
