"""Commands ``lvqa failures``, ``retry`` and ``verify``: outcomes of a run, and retries of failed videos."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lvqa_ray.cli.arguments import Output, is_job, named, resolve_output
from lvqa_ray.cli.display.layout import show_rows
from lvqa_ray.cli.display.terminal import data, fail, say, say_json, talk
from lvqa_ray.cli.run import AsJson, Overrides, Quiet, Verbose, run_and_report

Kinds = Annotated[list[str] | None, typer.Option("--kind", help="Only this kind of failure. Repeatable.")]


def failures(output: Output, *, kind: Kinds = None, as_json: AsJson = False) -> None:
    """List what failed, by kind, with reason and remedy; with --kind, each failed video of that kind."""
    from lvqa_ray.dataset.failures import by_kind  # noqa: PLC0415 - Arrow takes a second to import
    from lvqa_ray.dataset.failures import failures as rows_of  # noqa: PLC0415

    kinds, path = _known(kind), resolve_output(output)
    if as_json:
        found = list(rows_of(path, kinds)) if kinds else [asdict(summed) for summed in by_kind(path)]
        say_json(found)
        return
    rows: list[tuple[str, ...]]
    heads: tuple[str, ...]
    if kinds:
        heads = ("video", "stage", "kind", "attempts", "reason")
        rows = [
            (row["clip_id"] or row["id"], row["stage"], row["kind"], str(row["attempts"]), row["message"] or "")
            for row in rows_of(path, kinds)
        ]
    else:
        heads = ("kind", "videos", "retryable", "example", "reason", "remedy")
        rows = [
            (one.kind, str(one.count), str(one.retryable), one.example, one.reason, one.mend) for one in by_kind(path)
        ]
    if rows:
        show_rows(data, "Failures", heads, rows, whole=("kind", "videos", "retryable", "attempts"))
    else:
        talk.print(f"No video failed{' with this kind' if kinds else ''}.")


def retry(
    output: Output,
    *,
    kind: Kinds = None,
    job: Annotated[Path | None, typer.Option(help="Job file to use instead of the one stored in the output.")] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Process failed videos of the last run again, including those that a plain rerun skips as permanent."""
    from lvqa_ray.dataset.run_state import stored_job  # noqa: PLC0415 - as above

    kinds = _known(kind)
    again = stored_job(resolve_output(output), job, ["engine.retry_failures=true", *(overrides or [])])
    raise typer.Exit(
        run_and_report(again, output if is_job(output) else named(again, job), only=kinds, quiet=quiet, verbose=verbose)
    )


def verify(output: Output, *, as_json: AsJson = False) -> None:
    """Check that every video of the last run has one outcome and that all files are readable. Exit status 0 or 1."""
    from lvqa_ray.dataset.verify import verify as check  # noqa: PLC0415

    path = resolve_output(output)
    if not path.is_dir():
        fail(f"{output} does not exist. Give the output folder of a run.")
    verdict = check(path)
    if as_json:
        say_json({"ok": verdict.ok, "line": verdict.line, **asdict(verdict)})
    else:
        say(verdict.line)
    raise typer.Exit(0 if verdict.ok else 1)


def _known(kinds: list[str] | None) -> list[str]:
    from lvqa_ray.dataset.remedies import MENDS  # noqa: PLC0415 - as above

    for kind in kinds or []:
        if kind not in MENDS:
            fail(f"unknown kind of failure: {kind}. Known kinds: {', '.join(MENDS)}.")
    return kinds or []
