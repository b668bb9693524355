"""Commands ``lvqa run``, ``plan`` and ``estimate`` for a job from a file or from options."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lvqa_ray import config, plugins
from lvqa_ray.cli.arguments import JOB_FILES, is_job, named
from lvqa_ray.cli.display.panel import Lines, Screen, show_log
from lvqa_ray.cli.display.summaries import print_plan, print_summary
from lvqa_ray.cli.display.terminal import fail, plain, talk
from lvqa_ray.cli.report import report_after_run
from lvqa_ray.process_start import arrow_without_pandas

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting, as section.key=value. Repeatable.", metavar="K=V"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only problems.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print the log.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Process only the first N videos.", metavar="N")]
Sources = Annotated[
    list[str], typer.Argument(help="One job file (.yaml), or videos: files, folders, glob patterns, manifests, URLs.")
]
Out = Annotated[str | None, typer.Option(help="Output folder. Required without a job file.")]
BaseUrl = Annotated[
    str | None,
    typer.Option(help="URL of the endpoint, such as http://localhost:8000/v1. Required without a job file."),
]
VlmModel = Annotated[str | None, typer.Option(help="Vision model that captions clips. Required without a job file.")]
LlmModel = Annotated[
    str | None, typer.Option(help="Language model that writes questions. Required without a job file.")
]
ReformatModel = Annotated[str | None, typer.Option(help="Model that rewrites the reasoning. Default: --llm-model.")]
CheckerModel = Annotated[str | None, typer.Option(help="Model for the checks of questions. Default: --llm-model.")]
KeyVariable = Annotated[str, typer.Option(help="Environment variable that holds the API key.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over in a new folder beside the output folder.")]
KEY_VARIABLE = "OPENAI_API_KEY"


def run(
    sources: Sources,
    *,
    out: Out = None,
    base_url: BaseUrl = None,
    vlm_model: VlmModel = None,
    llm_model: LlmModel = None,
    reformat_model: ReformatModel = None,
    checker_model: CheckerModel = None,
    api_key_env: KeyVariable = KEY_VARIABLE,
    limit: Limit = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", hidden=True)] = False,
    fresh: Fresh = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")] = True,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a job. Run the same command again to resume it after an interruption."""
    models = {"vlm": vlm_model, "llm": llm_model, "reformat": reformat_model, "checker": checker_model}
    job = _job_of(
        sources,
        out=out,
        base_url=base_url,
        models=models,
        api_key_env=api_key_env,
        limit=limit,
        overrides=overrides,
    )
    if fresh:
        job = _fresh(job)
    if dry_run:
        talk.print("lvqa run --dry-run is deprecated: use lvqa plan.", soft_wrap=True)
        print_plan(job, ask_endpoints=True)
        return
    name = named(job, sources[0] if is_job(sources[0]) else None)
    raise typer.Exit(run_and_report(job, name, quiet=quiet, verbose=verbose, report=report))


def plan(
    sources: Sources,
    *,
    out: Out = None,
    base_url: BaseUrl = None,
    vlm_model: VlmModel = None,
    llm_model: LlmModel = None,
    reformat_model: ReformatModel = None,
    checker_model: CheckerModel = None,
    api_key_env: KeyVariable = KEY_VARIABLE,
    limit: Limit = None,
    overrides: Overrides = None,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Show what a run would process, why, and the estimated cost. Requests the endpoints' model lists; pays nothing."""
    models = {"vlm": vlm_model, "llm": llm_model, "reformat": reformat_model, "checker": checker_model}
    job = _job_of(
        sources,
        out=out,
        base_url=base_url,
        models=models,
        api_key_env=api_key_env,
        limit=limit,
        overrides=overrides,
    )
    print_plan(_fresh(job) if fresh else job, ask_endpoints=True, as_json=as_json)


def _job_of(
    sources: Sequence[str],
    *,
    out: str | None,
    base_url: str | None,
    models: Mapping[str, str | None],
    api_key_env: str,
    limit: int | None,
    overrides: Sequence[str] | None,
) -> config.Job:
    """Build the job from a job file, or from videos and options."""
    given: dict[str, Any] = {"output": out} if out else {}
    if limit:
        given["limit"] = limit
    files = [source for source in sources if Path(source).suffix.lower() in JOB_FILES]
    if files and len(sources) > 1:
        fail(f"{files[0]} is a job file, which names its videos itself: give it alone.")
    if files:
        direct = {"--base-url": base_url} | {f"--{role}-model": model for role, model in models.items()}
        if extra := [name for name, value in direct.items() if value]:
            fail(f"{', '.join(extra)} cannot be combined with a job file: use --set endpoints.vlm.model=... instead.")
        sets = [*(f"{key}={json.dumps(value)}" for key, value in given.items()), *(overrides or [])]
        return config.Job.load(sources[0], sets)
    needed = {"--out": out, "--base-url": base_url, "--vlm-model": models["vlm"], "--llm-model": models["llm"]}
    if missing := [name for name, value in needed.items() if not value]:
        fail(f"without a job file, {', '.join(missing)} must be given.")
    endpoints = endpoints_of(base_url, api_key_env, models)
    return config.Job.of(
        {"videos": list(sources), "endpoints": endpoints, **given}, overrides or [], where="the command line"
    )


def endpoints_of(base_url: str | None, api_key_env: str, models: Mapping[str, str | None]) -> dict[str, Any]:
    """Build the section `endpoints` of a job for one endpoint; roles without a model are left out."""
    shared = {"base_url": base_url, "api_key_env": api_key_env}
    return {role: {**shared, "model": model} for role, model in models.items() if model}


def _fresh(job: config.Job) -> config.Job:
    """Give the job an empty output folder: its own, or the first free one with a number appended."""
    from lvqa_ray.storage.paths import holds_anything  # noqa: PLC0415 - it takes a second to import

    given = config.output_path(job)
    numbered = (given.with_name(f"{given.name}-{number}") for number in itertools.count(2))
    folder = next(folder for folder in itertools.chain([given], numbered) if not holds_anything(folder))
    if folder != given:
        talk.print(
            f"Starting over in {plain(str(folder))}. {plain(str(given))} stays as it is; its cached replies are not "
            "used, so everything is paid again.",
            soft_wrap=True,
        )
    return job.model_copy(update={"output": str(folder)})


def estimate(
    job: Annotated[Path, typer.Argument(help="Job file (.yaml).")],
    *,
    limit: Limit = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the tokens, dollars and time of a job. Contacts no endpoint and needs no key."""
    first = [f"limit={limit}"] if limit else []
    print_plan(config.Job.load(job, [*first, *(overrides or [])]), ask_endpoints=False, as_json=as_json)


def run_and_report(
    job: config.Job,
    name: str,
    *,
    only: Collection[str] | None = None,
    quiet: bool = False,
    verbose: bool = False,
    report: bool = True,
) -> int:
    """Run a job, print its summary, and return the exit status.

    Args:
        job: The job.
        name: OUTPUT argument for other commands.
        only: As for `lvqa_ray.run`.
        quiet: Print only problems.
        verbose: Print the log.
        report: Write the report if that is cheap.
    """
    if verbose:
        show_log(talk)
    if not plugins.is_any_installed():
        arrow_without_pandas()
    from lvqa_ray.engine.run import run as run_job  # noqa: PLC0415 - Ray takes seconds to import
    from lvqa_ray.engine.shutdown import Interrupted  # noqa: PLC0415 - as above

    summary = None
    try:
        screen = talk.is_terminal and not talk.is_dumb_terminal and not quiet
        with Screen(talk, f"lvqa: {job.output}") if screen else Lines(talk, quiet=quiet) as view:
            summary = run_job(job, view.update, _print_stopping, only=only)
        # After a signal there is no fault to fix; `status` prints how to resume.
        print_summary(replace(summary, halted="") if summary.signal else summary, name, quiet=quiet)
        if report and not summary.signal:
            report_after_run(config.output_path(job), name, quiet=quiet)
    except Interrupted as interrupted:
        return 128 + interrupted.signum
    except OSError:  # printing failed: a closed terminal or pipe, or a full disk; the run itself succeeded
        if summary is None:
            raise
    return summary.exit_status


def _print_stopping() -> None:
    talk.print("Stopping when the requests in flight are answered. Repeat to stop at once.", soft_wrap=True)
