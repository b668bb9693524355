"""Command ``lvqa audit``: statistics of one output, or of two side by side, with significance tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lvqa_ray.cli.arguments import OUTPUT_HELP, resolve_output
from lvqa_ray.cli.display.layout import show, table
from lvqa_ray.cli.display.review_rates import print_reviews
from lvqa_ray.cli.display.summaries import counts_of
from lvqa_ray.cli.display.terminal import data, fail, plain, say_json, talk

if TYPE_CHECKING:  # Arrow takes a second to import
    from lvqa_ray.dataset.statistics.audit import Audit
    from lvqa_ray.dataset.statistics.significance import Mean, Share

AuditRow = tuple[str, "Callable[[Audit], str]"]
"""A row label, and a function from an audit to the text of its cell."""


def audit(
    outputs: Annotated[list[str], typer.Argument(help=f"{OUTPUT_HELP} A second output is shown beside it.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show what the checks removed, and whether position, length or guessing reveals the key."""
    from lvqa_ray.dataset.reader import OutputReader  # noqa: PLC0415 - Arrow takes a second to import
    from lvqa_ray.dataset.statistics.output_statistics import count  # noqa: PLC0415

    if len(outputs) > 2:
        fail("give one output folder, or two to compare.")
    found = {output: count(OutputReader(resolve_output(output))).audit for output in outputs}
    for output, audited in found.items():
        if not audited.asked:
            fail(f"{output} has no questions. Give the output folder of a run.")
    from lvqa_ray.review.agreement import review_statistics  # noqa: PLC0415
    from lvqa_ray.review.decisions import decisions  # noqa: PLC0415

    reviews = {output: review_statistics(decisions(resolve_output(output))) for output in outputs}
    if as_json:
        say_json({output: as_values(one) | {"reviews": asdict(reviews[output])} for output, one in found.items()})
        return
    print_audit(found)
    print_reviews(reviews)


def as_values(audit: Audit) -> dict[str, Any]:
    """Convert an audit to plain values for JSON."""
    sums = {name: getattr(audit, name) for name in ("asked", "tokens_per_record", "usd_per_record")}
    models = [asdict(use) | {"gpu_hours": use.gpu_hours, "cost_usd": use.cost_usd} for use in audit.models]
    return asdict(audit) | sums | {"models": models}


def print_audit(audits: Mapping[str, Audit]) -> None:
    """Print audits as a table with one column each."""
    every = list(audits.values())
    made = table("Audit", "", *map(plain, audits))
    for label, cell in _rows(every):
        made.add_row(plain(label), *(plain(cell(audit)) for audit in every))
    show(data, made)
    talk.print(
        "Intervals are 95 % confidence intervals. p is the probability of such a result by chance: a small p means "
        "that the "
        "position or the length of an option reveals the key. The length counts only questions with a single "
        "longest, or "
        "shortest, option.",
        soft_wrap=True,
    )


def _rows(audits: list[Audit]) -> list[AuditRow]:
    rows: list[AuditRow] = [
        ("questions requested", lambda audit: f"{audit.asked:,}"),
        *(_checked(check) for check in _names(audits, "checks")),
        *(_unusable(check) for check in _names(audits, "dropped") if check not in _names(audits, "checks")),
        ("questions kept", lambda audit: _of(audit.records, audit.asked)),
        ("videos with a record", lambda audit: f"{audit.videos:,}"),
        *(_category(name) for name in _names(audits, "quota")),
        (
            "key at A, B, C, D",
            lambda audit: ", ".join(_percent(n, sum(audit.keys.values())) for n in audit.keys.values()),
        ),
        ("  p of these positions", lambda audit: f"{audit.keys_p:.3g}"),
        ("the longest option is the key", lambda audit: _share(audit.longest)),
        ("the shortest option is the key", lambda audit: _share(audit.shortest)),
        ("guessed without captions, all kinds", lambda audit: _mean(audit.blind["all"])),
        ("guessed without captions, kept", lambda audit: _mean(audit.blind["kept"])),
        *(row for kind in _names(audits, "kinds") for row in _kind(kind)),
        ("solved from captions, all", lambda audit: _mean(audit.solve["all"])),
        ("solved from captions, kept", lambda audit: _mean(audit.solve["kept"])),
        ("  long videos, windows that the key cites", lambda audit: _of_windows(audit, "cited")),
        ("  long videos, windows chosen without it", lambda audit: _of_windows(audit, "unaided")),
        ("  difference", _difference),
        ("  difficulty, kept", lambda audit: ", ".join(f"{k}: {n:,}" for k, n in audit.difficulty.items())),
        ("answered from the video, all", lambda audit: _mean(audit.watch["all"])),
        ("answered from the video, kept", lambda audit: _mean(audit.watch["kept"])),
        *(_rate(rate) for rate in sorted(_names(audits, "watched"), key=float)),
        ("  pass@k", lambda audit: ", ".join(f"{k}: {100 * rate:.1f} %" for k, rate in audit.pass_at.items())),
        *(_success(name) for name in _names(audits, "success") if any(audit.watched for audit in audits)),
        ("preference pairs", _pairs),
        ("  the chosen is longer (chance 50 %)", lambda audit: _share(audit.pairs.longer)),
        *(_positions(side) for side in ("chosen", "rejected")),
        ("cited time captioned, all", lambda audit: _mean(audit.grounded["all"])),
        ("cited time captioned, kept", lambda audit: _mean(audit.grounded["kept"])),
        *(_cost(stage) for stage in _names(audits, "cost")),
        *(_served(label) for label in dict.fromkeys(use.label for audit in audits for use in audit.models)),
        ("tokens per kept question", lambda audit: _number(audit.tokens_per_record, "{:,.0f}")),
        ("dollars per kept question", lambda audit: _number(audit.usd_per_record, "${:,.5f}")),
    ]
    return [(label, cell) for label, cell in rows if any(cell(audit) for audit in audits)]


def _names(audits: list[Audit], field: str) -> list[str]:
    return list(dict.fromkeys(name for audit in audits for name in getattr(audit, field)))


def _checked(check: str) -> AuditRow:
    def cell(audit: Audit) -> str:
        outcomes = audit.checks.get(check, {})
        order = [outcome for outcome in ("dropped", "repaired", "marked", "passed") if outcomes.get(outcome)]
        return ", ".join(f"{outcomes[outcome]:,} {outcome}" for outcome in order)

    return f"  {check}", cell


def _unusable(stage: str) -> AuditRow:
    return f"  {stage}", lambda audit: ", ".join(f"{n:,} {kind}" for kind, n in audit.dropped.get(stage, {}).items())


def _category(name: str) -> AuditRow:
    def cell(audit: Audit) -> str:
        quota = audit.quota.get(name)
        return f"{quota['delivered']:,} of {quota['requested']:,} requested" if quota else ""

    return f"  {name or 'no category'}", cell


def _kind(kind: str) -> list[AuditRow]:
    def chance(audit: Audit) -> str:
        found = audit.kinds.get(kind)
        if found is None or found.chance is None:
            return ""
        nominal = "" if found.nominal is None else f", nominal {100 * found.nominal:.0f} %"
        guess = f" ({found.guess})" if found.guess else ""
        return f"{100 * found.chance:.1f} %{guess} of {found.records:,}{nominal}"

    def rate(audit: Audit, check: Literal["blind", "solve"]) -> str:
        found = audit.kinds.get(kind)
        return _mean(getattr(found, check)["all"]) if found else ""

    return [
        (f"{kind}: measured chance, kept", chance),
        ("  guessed without captions, all", lambda audit: rate(audit, "blind")),
        ("  solved from captions, all", lambda audit: rate(audit, "solve")),
    ]


def _of_windows(audit: Audit, which: str) -> str:
    return _mean(audit.unaided[which]) if which in audit.unaided else ""


def _difference(audit: Audit) -> str:
    cited, unaided = (audit.unaided.get(which) for which in ("cited", "unaided"))
    if cited is None or unaided is None or cited.mean is None or unaided.mean is None:
        return ""
    return f"{100 * (cited.mean - unaided.mean):+.1f} percentage points"


def _rate(rate: str) -> AuditRow:
    """A bar of the histogram of the share of correct answers from the film."""

    def cell(audit: Audit) -> str:
        number, most = audit.watched.get(rate, 0), max(audit.watched.values(), default=0)
        return f"{number:>6,} {BAR * round(BAR_LENGTH * number / most)}".rstrip() if most else ""

    return f"  {100 * float(rate):.0f} % of its answers are right", cell


BAR, BAR_LENGTH = "█", 20


def _success(name: str) -> AuditRow:
    def cell(audit: Audit) -> str:
        found = audit.success.get(name)
        if not found:
            return ""
        told, seen = (found[check].mean for check in ("solve", "watch"))
        return f"captions {_number(told, '{:.0%}') or '-'}, film {_number(seen, '{:.0%}') or '-'}"

    return f"  right in {name or 'no category'}", cell


def _pairs(audit: Audit) -> str:
    return f"{audit.pairs.pairs:,} of {audit.pairs.records:,} records with traces" if audit.pairs.records else ""


def _positions(side: str) -> AuditRow:
    def cell(audit: Audit) -> str:
        counts, pairs = audit.pairs.positions[side], sum(audit.pairs.positions[side].values())
        shares = ", ".join(_percent(number, pairs) for number in counts.values())
        return f"{shares}, p {audit.pairs.positions_p[side]:.3g}" if pairs else ""

    return f"  the {side} answer was shown at A, B, C, D", cell


def _cost(stage: str) -> AuditRow:
    def cell(audit: Audit) -> str:
        cost = audit.cost.get(stage)
        if cost is None:
            return ""
        usd = "" if cost.cost_usd is None else f", ${cost.cost_usd:,.4f}"
        reported = counts_of(cost.input_tokens, cost.cached_tokens, cost.reasoning_tokens)
        return f"{cost.calls:,} calls, {cost.input_tokens:,} tokens in, {cost.output_tokens:,} out{reported}{usd}"

    return f"cost: {stage}", cell


def _served(label: str) -> AuditRow:
    def cell(audit: Audit) -> str:
        from lvqa_ray.dataset.model_use import gpu_cost  # noqa: PLC0415 - the storage libraries take time to import

        used = [use for use in audit.models if use.label == label]
        usd = gpu_cost(used)
        cost = f", ${usd:,.4f}" if usd is not None else "; no price: set price_gpu_hour of the endpoint"
        return f"{sum(use.gpu_hours for use in used):,.2f} GPU hours{cost}" if used else ""

    return f"served: {label}", cell


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({_percent(part, whole)})"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _share(share: Share) -> str:
    if not share.of:
        return ""
    return (
        f"{_percent(share.hits, share.of)} of {share.of:,} ({100 * share.low:.1f} to {100 * share.high:.1f} %), "
        f"chance {100 * share.chance:.0f} %, p {share.p:.3g}"
    )


def _mean(mean: Mean) -> str:
    if mean.mean is None:
        return ""
    return f"{100 * mean.mean:.1f} % of {mean.of:,} ({100 * mean.low:.1f} to {100 * mean.high:.1f} %)"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
