"""``lvqa run``: a job from a file or from options, and what became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lvqa_ray.cli.tables import print_plan, print_summary, traffic_line
from lvqa_ray.cli.terminal import Quiet, fail, talk
from lvqa_ray.config import Job

Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: section.key=value. May be repeated.", metavar="K=V")
]
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
    api_key_env: Annotated[str, typer.Option(help="Environment variable that holds the key.")] = "OPENAI_API_KEY",
    limit: Limit = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
) -> None:
    """Run a job; run it again to go on after whatever stopped it."""
    given: dict[str, Any] = {"output": out} if out else {}
    if limit:
        given["limit"] = limit
    files = [source for source in sources if Path(source).suffix.lower() in {".yaml", ".yml"}]
    if files and len(sources) > 1:
        fail(f"{files[0]} is a job file, and names its videos itself: give it alone.")
    if files:
        direct = {"--base-url": base_url, "--vlm-model": vlm_model, "--llm-model": llm_model}
        if extra := [name for name, value in {**direct, "--reformat-model": reformat_model}.items() if value]:
            fail(f"{', '.join(extra)} cannot stand beside a job file; use --set endpoints.vlm.model=... and the like.")
        job = Job.load(
            sources[0], [*(f"{key}={json.dumps(value)}" for key, value in given.items()), *(overrides or [])]
        )
    else:
        needed = {"--out": out, "--base-url": base_url, "--vlm-model": vlm_model, "--llm-model": llm_model}
        if missing := [name for name, value in needed.items() if not value]:
            fail(f"without a job file, {', '.join(missing)} must be given.")
        shared = {"base_url": base_url, "api_key_env": api_key_env}
        endpoints = {"vlm": {**shared, "model": vlm_model}, "llm": {**shared, "model": llm_model}}
        if reformat_model:
            endpoints["reformat"] = {**shared, "model": reformat_model}
        job = Job.of({"videos": sources, "endpoints": endpoints, **given}, overrides or [], where="the command line")
    if dry_run:
        print_plan(job, ask_endpoints=True)
        return
    raise typer.Exit(run_and_tell(job))


def estimate(
    job: Annotated[Path, typer.Argument(help="Job file (.yaml).")],
    *,
    limit: Limit = None,
    overrides: Overrides = None,
) -> None:
    """Say what a job will come to in tokens, dollars and time; needs no key and asks no endpoint."""
    first = [f"limit={limit}"] if limit else []
    print_plan(Job.load(job, [*first, *(overrides or [])]), ask_endpoints=False)


def run_and_tell(job: Job) -> int:
    """Run a job, say how it went, and give the exit status."""
    from lvqa_ray.engine.run import run as run_job  # noqa: PLC0415 - Ray takes seconds to import

    with talk.status("starting ...") if talk.is_terminal else Quiet() as status:
        summary = run_job(job, lambda traffic: status.update(traffic_line(traffic)))
    print_summary(summary)
    return summary.exit_status
