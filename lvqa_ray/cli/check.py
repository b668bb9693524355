"""``lvqa check`` and ``lvqa preview``: before a run, whether it can go well, and what its first videos come to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray.cli.arguments import named
from lvqa_ray.cli.display.layout import show, table
from lvqa_ray.cli.display.summaries import print_questions
from lvqa_ray.cli.display.terminal import data, plain, say_json, talk
from lvqa_ray.cli.run import AsJson, Overrides, run_and_tell
from lvqa_ray.config import Job

if TYPE_CHECKING:
    from lvqa_ray.engine.preflight.doctor import Finding

JobFile = Annotated[Path, typer.Argument(help="Job file (.yaml).")]


def check(
    job: JobFile,
    *,
    overrides: Overrides = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send tiny paid requests without asking first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try a job's endpoints, output, disk and videos; exit status 2 if a run would fail."""
    from lvqa_ray.engine.preflight.doctor import check as look  # noqa: PLC0415 - Ray takes seconds to import

    loaded = Job.load(job, overrides or [])
    ask = talk.is_terminal and not yes
    paid = yes or (
        ask and typer.confirm("Send each endpoint a tiny request or two, which cost a cent at most?", err=True)
    )
    found = list(look(loaded, paid=paid))
    if as_json:
        say_json([asdict(finding) for finding in found])
    else:
        _print(found)
    raise typer.Exit(2 if any(finding.ok is False for finding in found) else 0)


def _print(found: list[Finding]) -> None:
    made = table("Check", "looked at", "", "found", whole=("",))
    words = {True: "[green]good[/]", False: "[red]bad[/]", None: "[yellow]-[/]"}
    for finding in found:
        made.add_row(plain(finding.what), words[finding.ok], plain(finding.says))
    show(data, made)


def preview(
    job: JobFile,
    *,
    count: Annotated[int, typer.Option("-n", min=1, help="How many videos.")] = 2,
    overrides: Overrides = None,
) -> None:
    """Do the first videos of a job from end to end and show what comes of them; a later run does not do them again."""
    from lvqa_ray.config.places import output_path  # noqa: PLC0415 - as above

    loaded = Job.load(job, [f"limit={count}", *(overrides or [])])
    name = named(loaded, job)
    status = run_and_tell(loaded, name)
    if loaded.ask.wanted:
        print_questions(output_path(loaded), name)
    raise typer.Exit(status)
