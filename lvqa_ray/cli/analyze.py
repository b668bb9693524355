"""``lvqa analyze``: its arguments; what it does is in `video_analysis`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lvqa_ray import config
from lvqa_ray.cli.display.terminal import fail
from lvqa_ray.cli.run import Overrides, Quietly, endpoints_of

VIDEO = "(the video of the command)"
# Those of `records`, which takes as long to import as the whole command line; a test compares them.
TASKS = ("analysis", "summary", "titles", "mind_map")
STYLES = ("plot_detail", "summary", "tags", "highlights", "multi_task")


def analyze(
    video: Annotated[
        str | None, typer.Argument(help="A file or an address; may be left out with a known --task-id.")
    ] = None,
    *,
    tasks: Annotated[str, typer.Option(help=f"What to make of it, with commas: {', '.join(TASKS)}.")] = "summary",
    style: Annotated[
        str | None, typer.Option(help=f"Of the summary: {', '.join(STYLES)}; several with commas.")
    ] = None,
    job: Annotated[Path | None, typer.Option(help="Job file (.yaml), for all settings but its videos.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder for the journal and the results.")] = None,
    base_url: Annotated[str | None, typer.Option(help="URL of the endpoint, such as http://localhost:8000/v1.")] = None,
    vlm_model: Annotated[str | None, typer.Option(help="Model that looks at shots.")] = None,
    llm_model: Annotated[str | None, typer.Option(help="Model that writes.")] = None,
    api_key_env: Annotated[str, typer.Option(help="Environment variable that holds the key.")] = "OPENAI_API_KEY",
    task_id: Annotated[str | None, typer.Option(help="Names the result, for a later call to build on.")] = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each thing that is told.")] = False,
    quiet: Quietly = False,
) -> None:
    """Tell what is seen in one video, sum it up, give it titles, draw its mind map: printed as it comes.

    Run it again to go on after whatever stopped it, or to have another part made: nothing is paid twice.
    """
    given: dict[str, Any] = {"analysis.tasks": tasks.split(",")}
    if style:
        given["analysis.summary.styles"] = style.split(",")
    if out:
        given["output"] = out
    # What is asked about the film as a whole is told in one go, and there are no questions.
    sets = [*(f"{key}={json.dumps(value)}" for key, value in given.items()), *(overrides or [])]
    placed = f"videos={json.dumps([video or VIDEO])}"
    if job:
        if base_url or vlm_model or llm_model:
            fail("--base-url and the models cannot stand beside --job; use --set endpoints.vlm.model=... and the like.")
        loaded = config.Job.load(job, [placed, *sets])
    else:
        needed = {"--out": out, "--base-url": base_url, "--vlm-model": vlm_model, "--llm-model": llm_model}
        if missing := [name for name, value in needed.items() if not value]:
            fail(f"without --job, {', '.join(missing)} must be given.")
        endpoints = endpoints_of(base_url, api_key_env, {"vlm": vlm_model, "llm": llm_model})
        loaded = config.Job.of(
            {"videos": [video or VIDEO], "output": out, "endpoints": endpoints}, sets, where="the command line"
        )
    from lvqa_ray.cli.video_analysis import analyze_video  # noqa: PLC0415 - the video libraries take a second to import

    raise typer.Exit(analyze_video(loaded, video, task_id, as_json=as_json, quiet=quiet))
