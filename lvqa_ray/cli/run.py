"""``lvqa run``: a job from a file or from options, and what became of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lvqa_ray.cli.arguments import JOB_FILES, named
from lvqa_ray.cli.display.panel import Lines, Screen, talkative
from lvqa_ray.cli.display.summaries import print_plan, print_summary
from lvqa_ray.cli.display.terminal import fail, plain, talk
from lvqa_ray.cli.report import report_after_run
from lvqa_ray.config import Job

Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: section.key=value. May be repeated.", metavar="K=V")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Quietly = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but what went wrong.")]
Loudly = Annotated[bool, typer.Option("--verbose", "-v", help="Show what is logged.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first so many videos.")]


def run(
    sources: Annotated[
        list[str], typer.Argument(help="One job file (.yaml), or videos: files, folders, globs, manifests.")
    ],
    *,
    out: Annotated[str | None, typer.Option(help="Output folder.")] = None,
    base_url: Annotated[str | None, typer.Option(help="URL of the endpoint, such as http://localhost:8000/v1.")] = None,
    vlm_model: Annotated[str | None, typer.Option(help="Model that captions clips.")] = None,
    llm_model: Annotated[str | None, typer.Option(help="Model that writes questions.")] = None,
    reformat_model: Annotated[str | None, typer.Option(help="Model that rewrites reasoning; else --llm-model.")] = None,
    checker_model: Annotated[str | None, typer.Option(help="Model that checks questions; else --llm-model.")] = None,
    api_key_env: Annotated[str, typer.Option(help="Environment variable that holds the key.")] = "OPENAI_API_KEY",
    limit: Limit = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over in a new folder beside the output.")] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")] = True,
    quiet: Quietly = False,
    verbose: Loudly = False,
) -> None:
    """Run a job; run it again to go on after whatever stopped it."""
    given: dict[str, Any] = {"output": out} if out else {}
    if limit:
        given["limit"] = limit
    files = [source for source in sources if Path(source).suffix.lower() in JOB_FILES]
    if files and len(sources) > 1:
        fail(f"{files[0]} is a job file, and names its videos itself: give it alone.")
    if files:
        direct = {"--base-url": base_url, "--vlm-model": vlm_model, "--llm-model": llm_model}
        direct |= {"--reformat-model": reformat_model, "--checker-model": checker_model}
        if extra := [name for name, value in direct.items() if value]:
            fail(f"{', '.join(extra)} cannot stand beside a job file; use --set endpoints.vlm.model=... and the like.")
        job = Job.load(
            sources[0], [*(f"{key}={json.dumps(value)}" for key, value in given.items()), *(overrides or [])]
        )
    else:
        needed = {"--out": out, "--base-url": base_url, "--vlm-model": vlm_model, "--llm-model": llm_model}
        if missing := [name for name, value in needed.items() if not value]:
            fail(f"without a job file, {', '.join(missing)} must be given.")
        models = {"vlm": vlm_model, "llm": llm_model, "reformat": reformat_model, "checker": checker_model}
        endpoints = endpoints_of(base_url, api_key_env, models)
        job = Job.of({"videos": sources, "endpoints": endpoints, **given}, overrides or [], where="the command line")
    if fresh:
        job = _fresh(job)
    if dry_run:
        print_plan(job, ask_endpoints=True)
        return
    told = named(job, files[0] if files else None)
    raise typer.Exit(run_and_tell(job, told, quiet=quiet, verbose=verbose, report=report))


def endpoints_of(base_url: str | None, api_key_env: str, models: Mapping[str, str | None]) -> dict[str, Any]:
    """The section `endpoints` of a job for one endpoint; a role without a model of its own is left out."""
    shared = {"base_url": base_url, "api_key_env": api_key_env}
    return {role: {**shared, "model": model} for role, model in models.items() if model}


def _fresh(job: Job) -> Job:
    """The job with an output folder that holds nothing: the next number behind its own that is free."""
    from lvqa_ray.config.places import output_path  # noqa: PLC0415 - it takes a second to import
    from lvqa_ray.storage.paths import holds_anything  # noqa: PLC0415 - it takes a second to import

    given = output_path(job)
    numbered = (given.with_name(f"{given.name}-{number}") for number in itertools.count(2))
    folder = next(folder for folder in itertools.chain([given], numbered) if not holds_anything(folder))
    if folder != given:
        talk.print(
            f"Starting over in {plain(str(folder))}; {plain(str(given))} stays as it is, and what it paid for is paid "
            "anew.",
            soft_wrap=True,
        )
    return job.model_copy(update={"output": str(folder)})


def plan(
    job: Annotated[Path, typer.Argument(help="Job file (.yaml).")],
    *,
    limit: Limit = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run would do again and why, and what it would cost; the same as `run --dry-run`."""
    first = [f"limit={limit}"] if limit else []
    print_plan(Job.load(job, [*first, *(overrides or [])]), ask_endpoints=True, as_json=as_json)


def estimate(
    job: Annotated[Path, typer.Argument(help="Job file (.yaml).")],
    *,
    limit: Limit = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Say what a job will come to in tokens, dollars and time; needs no key and asks no endpoint."""
    first = [f"limit={limit}"] if limit else []
    print_plan(Job.load(job, [*first, *(overrides or [])]), ask_endpoints=False, as_json=as_json)


def run_and_tell(
    job: Job,
    told: str,
    *,
    only: Collection[str] | None = None,
    quiet: bool = False,
    verbose: bool = False,
    report: bool = True,
) -> int:
    """Run a job, say how it went, and give the exit status.

    Args:
        job: The job.
        told: What other commands are to be given for its output.
        only: As for `lvqa_ray.run`.
        quiet: Say nothing but what went wrong.
        verbose: Show what is logged.
        report: Write the report, where that is cheap.
    """
    if verbose:
        talkative(talk)
    from lvqa_ray.config.places import output_path  # noqa: PLC0415 - as below
    from lvqa_ray.engine.run import run as run_job  # noqa: PLC0415 - Ray takes seconds to import
    from lvqa_ray.engine.shutdown import Interrupted  # noqa: PLC0415 - it belongs to what was just imported

    summary = None
    try:
        screen = talk.is_terminal and not talk.is_dumb_terminal and not quiet
        with Screen(talk, f"lvqa: {job.output}") if screen else Lines(talk, quiet=quiet) as view:
            summary = run_job(job, view.update, _say_stopping, only=only)
        # A signal is nothing to be mended: how to go on is said at the end of every run that was stopped by one.
        print_summary(replace(summary, halted="") if summary.signal else summary, told, quiet=quiet)
        if report and not summary.signal:
            report_after_run(output_path(job), told, quiet=quiet)
    except Interrupted as interrupted:
        return 128 + interrupted.signum
    except OSError:  # a terminal or a pipe that is closed, or a full disk behind it, says nothing about the run
        if summary is None:
            raise
    return summary.exit_status


def _say_stopping() -> None:
    talk.print("Stopping once the requests under way are answered; the same again stops at once.", soft_wrap=True)
