"""Tables that show the plan and the summary of a run, and its questions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lvqa_ray import config
from lvqa_ray.cli.display.layout import pairs, show, show_rows
from lvqa_ray.cli.display.terminal import data, plain, say, say_json, say_stopped, talk

if TYPE_CHECKING:
    from lvqa_ray.dataset.model_use import ModelUse
    from lvqa_ray.dataset.statistics.question_counts import Funnel
    from lvqa_ray.engine.preflight.model_costs import ModelCost
    from lvqa_ray.engine.preflight.tier_costs import TierCost
    from lvqa_ray.engine.run import RunSummary
    from lvqa_ray.llm.price_tiers import Tier
    from lvqa_ray.records import Usage
    from lvqa_ray.stage import Role
    from lvqa_ray.storage.paths import StoragePath


def print_plan(job: config.Job, *, ask_endpoints: bool, as_json: bool = False) -> None:
    """Print the plan and the estimated cost of a run to stdout."""
    from lvqa_ray.engine.preflight.dry_run import plan  # noqa: PLC0415 - Ray takes seconds to import

    planned = plan(job, ask_endpoints=ask_endpoints)
    if as_json:
        say_json(asdict(planned) | {"cost_usd": planned.cost_usd})
        return
    table = pairs("Plan")
    table.add_row("videos", str(planned.videos))
    table.add_row("already done", str(planned.already_done))
    for reason, count in planned.reasons.items():
        if reason != "already done":
            table.add_row(plain(f"to do: {reason}"), str(count))
    table.add_row("unusable videos", str(planned.unusable))
    if planned.too_many_clips:
        table.add_row(
            f"over split.max_clips ({job.split.max_clips})", f"{planned.too_many_clips} videos, which will fail"
        )
    table.add_row("hours of video", f"{planned.seconds / 3600:.2f}")
    atleast = "" if planned.exact else "at least "
    table.add_row("clips", f"{atleast}{planned.clips}")
    table.add_row("frames", f"{atleast}{planned.frames}")
    for stage, part in planned.stages.items():
        table.add_row(plain(f"calls: {stage}"), f"{atleast}{part.calls}")
        cost = f", ${part.cost_usd:,.4f}" if part.cost_usd is not None else ""
        tokens = f"{part.input_tokens:,} tokens in, {part.output_tokens:,} out"
        table.add_row(plain(f"estimate: {stage}"), f"{plain(part.model)}: {tokens}{cost}")
    for model in planned.models:
        table.add_row(plain(f"served: {model.label}"), _served_estimate(model))
    unknown = "not known: set price_in and price_out of the endpoints"
    if planned.models:
        unknown = "not known: it needs the prices of the endpoints, and of served models price_gpu_hour and a first run"
    table.add_row("estimated cost", unknown if planned.cost_usd is None else f"${planned.cost_usd:,.4f}")
    table.add_row("endpoint time", f"{planned.busy_s / 60:.1f} minutes at its rate limits")
    if planned.batches.rounds:
        hours = f"up to {planned.batches.hours:,g} hours"
        table.add_row("file batches", f"{planned.batches.rounds} rounds, one after another: {hours}")
    show(data, table)
    if any(len(tiers) > 1 for tiers in planned.tiers.values()):
        _show_tiers(job, planned.tiers)
    talk.print(
        f"An estimate: one token per 4 letters; images as {planned.pictures}; replies of average length; no retries; "
        "nothing in the cache. Decoding may take longer than the endpoint.",
        soft_wrap=True,
    )


def _served_estimate(model: ModelCost) -> str:
    """Text of the GPU time of a served model and its cost."""
    gpus = "as many GPUs as are free" if model.gpus is None else f"{model.gpus:g} GPUs"
    price = "" if model.price_gpu_hour is None else f" at ${model.price_gpu_hour:,.2f} per GPU and hour"
    if model.gpu_hours is None:
        return f"{gpus}{price}; hours are known after a first run, such as one with --limit 3"
    cost = "" if model.cost_usd is None else f", ${model.cost_usd:,.4f}"
    return f"{gpus}{price}: {model.gpu_hours:,.2f} GPU hours{cost}, at the speed of the runs so far"


def _show_tiers(job: config.Job, costs: Mapping[Role, Mapping[Tier, TierCost]]) -> None:
    """Print the cost of each role on each price tier to stdout."""
    rows = []
    for role, tiers in costs.items():
        for tier, cost in tiers.items():
            usd = ["not known" if part is None else f"${part:,.4f}" for part in (cost.cost_usd, cost.with_cache_usd)]
            rows.append([role, job.endpoints.of(role).model, f"{tier} (set)" if cost.chosen else tier, *usd])
    show_rows(
        data, "Cost by price tier", ["role", "model", "tier", "no cache hits", "all cache hits"], rows, whole={"tier"}
    )
    talk.print(
        "Cache hits are those of the endpoint's prompt cache, which depends on its load. Where a tier gives no "
        "discount for them, or replies take hours, both columns are equal.",
        soft_wrap=True,
    )


def print_summary(summary: RunSummary, named: str, *, quiet: bool = False) -> None:
    """Print the outcomes of a run and the next steps.

    Args:
        summary: The outcomes.
        named: OUTPUT argument for other commands.
        quiet: Print only problems and the path of the output.
    """
    table = pairs(f"Run {summary.run_id}")
    table.add_row("videos", str(summary.videos))
    table.add_row("  done before this run", str(summary.already_done))
    table.add_row("  with questions", f"[green]{summary.records - summary.verdict.alone}[/]")
    for label, count, colour in (
        ("analyzed, no questions requested", summary.verdict.alone, "green"),
        ("without a requested result", summary.verdict.lacking, "red"),
        ("unfinished", summary.unfinished, "red"),
    ):
        if count:
            table.add_row(f"  {label}", f"[{colour}]{count}[/]")
    table.add_row("  failed", f"[{'red' if summary.failures else 'green'}]{sum(summary.failures.values())}[/]")
    for kind, count in summary.failures.items():
        table.add_row(plain(f"    {kind}"), str(count))
    table.add_row("clips", str(summary.clips))
    for label, count in question_lines(summary.questions):
        table.add_row(plain(label), str(count))
    for label, used in (*_paid_lines(summary.spent), *_served_lines(summary.models)):
        table.add_row(plain(label), used)
    table.add_row("cost of this run", total_cost(summary.spent, summary.models))
    table.add_row("time", f"{summary.seconds:.0f} s")
    if not quiet:
        show(talk, table)
    if not quiet or not summary.verdict.ok:
        talk.print(plain(summary.verdict.line), soft_wrap=True)
    if summary.over_budget and summary.halted:
        talk.print(f"[bold red]stopped:[/] {plain(summary.halted)}", soft_wrap=True)
    elif summary.halted:
        say_stopped(summary.halted)
    elif summary.retryable:
        talk.print(f"Run the same command again: {summary.retryable} failures may succeed.")
    if summary.failures:
        talk.print(f"Reasons and remedies: lvqa failures {plain(named)}", soft_wrap=True)
    say(summary.output)


def _paid_lines(spent: Mapping[str, Usage]) -> Iterator[tuple[str, str]]:
    """Rows of the calls that a run paid for, by stage."""
    for stage, used in spent.items():
        cost = f", ${used.cost_usd:.4f}" if used.cost_usd is not None else ""
        useless = f", {used.unusable} unusable" if used.unusable else ""
        counts = counts_of(used.input_tokens, used.cached_tokens, used.reasoning_tokens)
        tokens = f"{used.input_tokens:,} tokens in, {used.output_tokens:,} out{counts}"
        yield f"paid calls: {stage}", f"{used.calls}{useless} ({tokens}{cost})"


def _served_lines(models: Sequence[ModelUse]) -> Iterator[tuple[str, str]]:
    """Rows of the models that a run served, with their GPU time and cost."""
    for use in models:
        cost = "" if use.cost_usd is None else f", ${use.cost_usd:,.4f}"
        yield f"served: {use.label}", f"{use.gpu_hours:,.2f} GPU hours{cost}"


def total_cost(spent: Mapping[str, Usage], models: Sequence[ModelUse] = ()) -> str:
    """Text of the total cost, with the stages whose cost is not known."""
    known = [stage.cost_usd for stage in spent.values() if stage.cost_usd is not None]
    known += [use.cost_usd for use in models if use.cost_usd is not None]
    unknown = [name for name, stage in spent.items() if stage.cost_usd is None and stage.calls]
    if not unknown:
        return f"${sum(known):,.4f}"
    settings = "price_in and price_out of the endpoints" + (", and price_gpu_hour of served models" if models else "")
    without = f"no price is known for {', '.join(unknown)}: set {settings}"
    return plain(f"at least ${sum(known):,.4f}; {without}" if known else f"not known; {without}")


def counts_of(input_tokens: int, cached_tokens: int | None, reasoning_tokens: int | None) -> str:
    """Text of the counts that an endpoint reported: hits of its prompt cache, and reasoning; empty if none."""
    parts = []
    if cached_tokens is not None and input_tokens:
        parts.append(f", {100 * cached_tokens / input_tokens:.0f} % of the prompts from the endpoint's cache")
    if reasoning_tokens:
        parts.append(f", {reasoning_tokens:,} of reasoning")
    return "".join(parts)


def question_lines(questions: Funnel) -> list[tuple[str, int]]:
    """Rows of the question funnel, from requested to kept."""
    lines = [("questions requested", questions.asked)]
    for check, kinds in questions.dropped.items():
        lines.append((f"  dropped by {check}", sum(kinds.values())))
        lines += [(f"    {kind}", count) for kind, count in kinds.items() if kind != check]
    lines.append(("questions kept", questions.kept))
    noted = {check: outcomes.get("marked", 0) for check, outcomes in questions.checks.items()}
    return [*lines, *((f"  marked by {check}", count) for check, count in noted.items() if count)]


def print_record(folder: Path) -> None:
    """Print the first record of an output folder."""
    from lvqa_ray.dataset.shards import read_rows  # noqa: PLC0415

    record = next(read_rows(folder, "data"), None)
    if record is None:
        return
    talk.rule("One record")
    talk.print(plain(record["full_question"]))
    talk.print(f"[bold]Answer:[/] {plain(record['parsed_reasoning']['ANSWER'])}")
    talk.print(f"[bold]Reasoning:[/] {plain(record['reformatted_reasoning'])}")
    talk.rule("Open it")
    opened = f"import pandas; print(pandas.read_parquet({str(folder / 'data')!r}).iloc[0])"
    talk.print(plain(f"python -c {shlex.quote(opened)}"), soft_wrap=True)


def print_questions(output: StoragePath, name: str) -> None:
    """Print the questions about the videos of the last run to stdout, grouped by video.

    Args:
        output: Path of the output.
        name: OUTPUT argument for other commands.
    """
    from lvqa_ray.cli.report import output_at  # noqa: PLC0415 - Arrow takes a second to import
    from lvqa_ray.dataset.stored_manifest import stored_manifest  # noqa: PLC0415

    stored = stored_manifest(output)
    videos = stored[0]["id"].to_pylist() if stored else None
    columns = ["video_id", "video", "num_clips", "category", "parsed_reasoning"]
    last = ""
    records = output_at(output).rows("data", columns, videos).to_pylist()
    if videos is not None:  # videos finish in any order
        place = {video: number for number, video in enumerate(videos)}
        records.sort(key=lambda record: place[record["video_id"]])
    for record in records:
        parsed = record["parsed_reasoning"]
        if record["video_id"] != last:
            last = record["video_id"]
            head = f"[bold]{plain(last, one_line=True)}[/]  {plain(record['video'], one_line=True)}"
            data.print(f"\n{head}, {record['num_clips']} clips", soft_wrap=True)
        data.print(f"\n[bold]{plain(parsed['QUESTION'])}[/]  [dim]{plain(record['category'] or '')}[/]")
        for letter, option in (parsed["OPTIONS"] or {}).items():
            mark, style = ("*", "[green]") if letter == parsed["ANSWER"] else (" ", "[default]")
            data.print(f"  {style}{mark} {plain(letter)}. {plain(option)}[/]")
        data.print(f"  Answer: {plain(parsed['ANSWER'])}")
        for step in parsed["REASONS"]:
            reasons = plain(" ".join(step["reasons"]))
            data.print(f"  [dim]{step['start_s']:.0f} to {step['end_s']:.0f} s[/]  {reasons}")
    if not last:
        talk.print(
            f"There are no questions about these videos. The reasons: lvqa failures {plain(name)}", soft_wrap=True
        )
