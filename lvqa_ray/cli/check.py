"""Commands ``lvqa check`` (preflight tests of a job) and ``lvqa preview`` (process its first videos)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray import config
from lvqa_ray.cli.arguments import named
from lvqa_ray.cli.display.layout import show, table
from lvqa_ray.cli.display.summaries import print_questions
from lvqa_ray.cli.display.terminal import data, plain, say_json, talk
from lvqa_ray.cli.run import AsJson, Overrides, run_and_report

if TYPE_CHECKING:
    from lvqa_ray.engine.preflight.doctor import Finding

JobFile = Annotated[Path, typer.Argument(help="Job file (.yaml).")]


def check(
    job: JobFile,
    *,
    overrides: Overrides = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send small paid requests without asking first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Test the endpoints, output folder, disk and videos of a job. Exit status 2 if a run would fail."""
    from lvqa_ray.engine.preflight.doctor import check as run_checks  # noqa: PLC0415 - Ray takes seconds to import

    loaded = config.Job.load(job, overrides or [])
    ask = talk.is_terminal and not yes
    paid = yes or (ask and typer.confirm("Send each endpoint one or two small requests, for a cent at most?", err=True))
    found = list(run_checks(loaded, paid=paid))
    if as_json:
        say_json([asdict(finding) for finding in found])
    else:
        _print(found)
    raise typer.Exit(2 if any(finding.ok is False for finding in found) else 0)


def _print(found: list[Finding]) -> None:
    made = table("Check", "item", "", "finding", whole=("",))
    words = {True: "[green]ok[/]", False: "[red]bad[/]", None: "[yellow]-[/]"}
    for finding in found:
        made.add_row(plain(finding.what), words[finding.ok], plain(finding.says))
    show(data, made)


def preview(
    job: JobFile,
    *,
    count: Annotated[int, typer.Option("-n", min=1, help="Number of videos.")] = 2,
    overrides: Overrides = None,
) -> None:
    """Process the first videos of a job and print their questions. A later run does not process them again."""
    loaded = config.Job.load(job, [f"limit={count}", *(overrides or [])])
    name = named(loaded, job)
    status = run_and_report(loaded, name)
    if loaded.ask.wanted:
        print_questions(config.output_path(loaded), name)
    raise typer.Exit(status)
