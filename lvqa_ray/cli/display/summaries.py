"""What a run did or would do, as tables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvqa_ray.cli.display.layout import pairs, show
from lvqa_ray.cli.display.terminal import data, plain, say, say_json, say_stopped, talk
from lvqa_ray.config import Job
from lvqa_ray.journal.costs import Spent

if TYPE_CHECKING:
    from lvqa_ray.storage.paths import StoragePath


def print_plan(job: Job, *, ask_endpoints: bool, as_json: bool = False) -> None:
    """Print what a run would do and cost, to stdout."""
    from lvqa_ray.engine.preflight.dry_run import plan  # noqa: PLC0415 - Ray takes seconds to import

    planned = plan(job, ask_endpoints=ask_endpoints)
    if as_json:
        say_json(asdict(planned) | {"cost_usd": planned.cost_usd})
        return
    table = pairs("What would be done")
    table.add_row("videos", str(planned.videos))
    table.add_row("already done", str(planned.already_done))
    for reason, count in planned.reasons.items():
        if reason != "already done":
            table.add_row(plain(f"to do: {reason}"), str(count))
    table.add_row("unusable", str(planned.unusable))
    if planned.too_many_clips:
        table.add_row(f"over split.max_clips ({job.split.max_clips})", f"{planned.too_many_clips}, which will fail")
    table.add_row("hours of video", f"{planned.seconds / 3600:.2f}")
    atleast = "" if planned.exact else "at least "
    table.add_row("clips", f"{atleast}{planned.clips}")
    table.add_row("frames", f"{atleast}{planned.frames}")
    for stage, part in planned.stages.items():
        table.add_row(plain(f"calls: {stage}"), f"{atleast}{part.calls}")
        cost = f", ${part.cost_usd:,.4f}" if part.cost_usd is not None else ""
        tokens = f"{part.input_tokens:,} tokens in, {part.output_tokens:,} out"
        table.add_row(plain(f"estimate: {stage}"), f"{plain(part.model)}: {tokens}{cost}")
    unknown = "not known; set price_in and price_out of the endpoints"
    table.add_row("estimated cost", unknown if planned.cost_usd is None else f"${planned.cost_usd:,.4f}")
    table.add_row("endpoint busy", f"{planned.busy_s / 60:.1f} minutes at its limits")
    show(data, table)
    talk.print(
        f"An estimate: a token for 4 letters, pictures as {planned.pictures}, replies of usual length, all of them "
        "usable at once and none in the journal yet. Decoding may take longer than the endpoint.",
        soft_wrap=True,
    )


def print_summary(summary: Any, named: str, *, quiet: bool = False) -> None:  # noqa: ANN401 - a RunSummary, not loaded yet
    """Print what became of the videos, and how to go on; quietly, just what is wrong and where the output is.

    Args:
        summary: What became of them.
        named: What other commands are to be given for the output.
        quiet: Whether to be quiet.
    """
    table = pairs(f"Run {summary.run_id}")
    table.add_row("videos", str(summary.videos))
    table.add_row("  done before this run", str(summary.already_done))
    table.add_row("  with questions", f"[green]{summary.records - summary.verdict.alone}[/]")
    for label, count, colour in (
        ("analyzed, asked no questions", summary.verdict.alone, "green"),
        ("lacking a result", summary.verdict.lacking, "red"),
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
    for stage, spent in summary.spent.items():
        cost = f", ${spent.cost_usd:.4f}" if spent.cost_usd is not None else ""
        useless = f", {spent.unusable} of no use" if spent.unusable else ""
        table.add_row(
            plain(f"paid calls: {stage}"),
            f"{spent.calls}{useless} ({spent.input_tokens:,} tokens in, {spent.output_tokens:,} out{cost})",
        )
    table.add_row("cost of this run", total_cost(summary.spent))
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
        talk.print(f"{summary.retryable} failures may be mended by running the same command again.")
    if summary.failures:
        talk.print(f"Reasons and mends: lvqa failures {plain(named)}", soft_wrap=True)
    say(summary.output)


def total_cost(spent: Mapping[str, Spent]) -> str:
    """What all stages cost together, and of which that is not known."""
    known = [stage.cost_usd for stage in spent.values() if stage.cost_usd is not None]
    unknown = [name for name, stage in spent.items() if stage.cost_usd is None and stage.calls]
    if not unknown:
        return f"${sum(known):,.4f}"
    without = f"no price is known for {', '.join(unknown)}; set price_in and price_out of the endpoints"
    return plain(f"at least ${sum(known):,.4f}: {without}" if known else f"not known: {without}")


def question_lines(questions: Any) -> list[tuple[str, int]]:  # noqa: ANN401 - a Funnel, of the same module
    """The funnel of the questions, from those asked for to those kept."""
    lines = [("questions asked for", questions.asked)]
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
    """Print the questions that stand about the videos of the last run, video by video, to stdout.

    Args:
        output: Where they are.
        name: What other commands are given for it.
    """
    from lvqa_ray.cli.report import output_at  # noqa: PLC0415 - Arrow takes a second to import
    from lvqa_ray.dataset.stored_manifest import stored_manifest  # noqa: PLC0415

    stored = stored_manifest(output)
    videos = stored[0]["id"].to_pylist() if stored else None
    columns = ["video_id", "video", "num_clips", "category", "parsed_reasoning"]
    last = ""
    for record in output_at(output).rows("data", columns, videos).to_pylist():
        parsed = record["parsed_reasoning"]
        if record["video_id"] != last:
            last = record["video_id"]
            head = f"[bold]{plain(last, one_line=True)}[/]  {plain(record['video'], one_line=True)}"
            data.print(f"\n{head}, {record['num_clips']} clips", soft_wrap=True)
        data.print(f"\n[bold]{plain(parsed['QUESTION'])}[/]  [dim]{plain(record['category'] or '')}[/]")
        for letter, option in parsed["OPTIONS"].items():
            mark, style = ("*", "[green]") if letter == parsed["ANSWER"] else (" ", "[default]")
            data.print(f"  {style}{mark} {plain(letter)}. {plain(option)}[/]")
        data.print(f"  Answer: {plain(parsed['ANSWER'])}")
        for step in parsed["REASONS"]:
            said = plain(" ".join(step["reasons"]))
            data.print(f"  [dim]{step['start_s']:.0f} to {step['end_s']:.0f} s[/]  {said}")
    if not last:
        talk.print(f"No question stands about these videos: lvqa failures {plain(name)} says why.", soft_wrap=True)
