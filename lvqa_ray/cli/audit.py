"""``lvqa audit``: what an output holds, against chance, and two outputs side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from lvqa_ray.cli.arguments import WHAT, place_given
from lvqa_ray.cli.display.layout import show, table
from lvqa_ray.cli.display.terminal import data, fail, plain, say_json, talk

Line = tuple[str, Callable[[Any], str]]


def audit(
    outputs: Annotated[list[str], typer.Argument(help=f"{WHAT} A second one is put beside it.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what the checks took, and whether keys, lengths or guesses give the answers away."""
    from lvqa_ray.dataset.statistics.audit import audit as of  # noqa: PLC0415 - Arrow takes a second to import

    if len(outputs) > 2:
        fail("give one output folder, or two to compare.")
    found = {output: of(place_given(output)) for output in outputs}
    for output, audited in found.items():
        if not audited.asked:
            fail(f"{output} holds no questions; give the output folder of a run.")
    if as_json:
        say_json({output: said(one) for output, one in found.items()})
        return
    print_audit(found)


def said(audit: Any) -> dict[str, Any]:  # noqa: ANN401 - an Audit, whose module is not imported at start
    """An audit as plain values."""
    sums = {name: getattr(audit, name) for name in ("asked", "tokens_per_record", "usd_per_record")}
    return asdict(audit) | sums


def print_audit(audits: Mapping[str, Any]) -> None:
    """Print audits, a column each."""
    every = list(audits.values())
    made = table("Audit", "", *map(plain, audits))
    for label, cell in _lines(every):
        made.add_row(plain(label), *(plain(cell(audit)) for audit in every))
    show(data, made)
    talk.print(
        "Intervals hold 95 %. p is how often chance alone would give as much: a small one says that the place or the "
        "length of an option tells the key. The length is told where one option is the longest, or the shortest.",
        soft_wrap=True,
    )


def _lines(audits: list[Any]) -> list[Line]:
    lines: list[Line] = [
        ("questions asked for", lambda audit: f"{audit.asked:,}"),
        *(_checked(check) for check in _names(audits, "checks")),
        *(_unusable(check) for check in _names(audits, "dropped") if check not in _names(audits, "checks")),
        ("questions kept", lambda audit: _of(audit.records, audit.asked)),
        ("videos with a record", lambda audit: f"{audit.videos:,}"),
        *(_category(name) for name in _names(audits, "quota")),
        ("key at A, B, C, D", lambda audit: ", ".join(_percent(n, audit.records) for n in audit.keys.values())),
        ("  p of such places", lambda audit: f"{audit.keys_p:.3g}"),
        ("the longest option is the key", lambda audit: _share(audit.longest)),
        ("the shortest option is the key", lambda audit: _share(audit.shortest)),
        ("guessed blind, all (chance 25 %)", lambda audit: _mean(audit.blind["all"])),
        ("guessed blind, kept", lambda audit: _mean(audit.blind["kept"])),
        ("solved from captions, all", lambda audit: _mean(audit.solve["all"])),
        ("solved from captions, kept", lambda audit: _mean(audit.solve["kept"])),
        ("  difficulty of those kept", lambda audit: ", ".join(f"{k}: {n:,}" for k, n in audit.difficulty.items())),
        ("cited time captioned, all", lambda audit: _mean(audit.grounded["all"])),
        ("cited time captioned, kept", lambda audit: _mean(audit.grounded["kept"])),
        *(_cost(stage) for stage in _names(audits, "cost")),
        ("tokens for each kept", lambda audit: _number(audit.tokens_per_record, "{:,.0f}")),
        ("dollars for each kept", lambda audit: _number(audit.usd_per_record, "${:,.5f}")),
    ]
    return [(label, cell) for label, cell in lines if any(cell(audit) for audit in audits)]


def _names(audits: list[Any], field: str) -> list[str]:
    return list(dict.fromkeys(name for audit in audits for name in getattr(audit, field)))


def _checked(check: str) -> Line:
    def cell(audit: Any) -> str:  # noqa: ANN401 - as above
        outcomes = audit.checks.get(check, {})
        order = [outcome for outcome in ("dropped", "repaired", "marked", "passed") if outcomes.get(outcome)]
        return ", ".join(f"{outcomes[outcome]:,} {outcome}" for outcome in order)

    return f"  {check}", cell


def _unusable(stage: str) -> Line:
    return f"  {stage}", lambda audit: ", ".join(f"{n:,} {kind}" for kind, n in audit.dropped.get(stage, {}).items())


def _category(name: str) -> Line:
    def cell(audit: Any) -> str:  # noqa: ANN401 - as above
        quota = audit.quota.get(name)
        return f"{quota['delivered']:,} of {quota['requested']:,} requested" if quota else ""

    return f"  {name or 'no category'}", cell


def _cost(stage: str) -> Line:
    def cell(audit: Any) -> str:  # noqa: ANN401 - as above
        cost = audit.cost.get(stage)
        if cost is None:
            return ""
        usd = "" if cost.cost_usd is None else f", ${cost.cost_usd:,.4f}"
        return f"{cost.calls:,} calls, {cost.input_tokens:,} tokens in, {cost.output_tokens:,} out{usd}"

    return f"cost: {stage}", cell


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({_percent(part, whole)})"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _share(share: Any) -> str:  # noqa: ANN401 - as above
    if not share.of:
        return ""
    return (
        f"{_percent(share.hits, share.of)} of {share.of:,} ({100 * share.low:.1f} to {100 * share.high:.1f} %), "
        f"chance {100 * share.chance:.0f} %, p {share.p:.3g}"
    )


def _mean(mean: Any) -> str:  # noqa: ANN401 - as above
    if mean.mean is None:
        return ""
    return f"{100 * mean.mean:.1f} % of {mean.of:,} ({100 * mean.low:.1f} to {100 * mean.high:.1f} %)"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
