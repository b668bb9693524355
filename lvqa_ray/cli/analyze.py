"""Arguments of ``lvqa analyze``; `video_analysis` does the work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lvqa_ray import config
from lvqa_ray.cli.display.terminal import fail
from lvqa_ray.cli.run import Overrides, Quiet, endpoints_of

VIDEO = "(the video of the command)"
# Copies of the choices in `records`, whose import takes as long as the whole command line; a test compares them.
TASK_CHOICES = ("analysis", "summary", "titles", "mind_map")
STYLE_CHOICES = ("plot_detail", "summary", "tags", "highlights", "multi_task")


def analyze(
    video: Annotated[
        str | None, typer.Argument(help="A file or a URL. Optional with the --task-id of an earlier result.")
    ] = None,
    *,
    tasks: Annotated[
        str, typer.Option(help=f"Results to make, separated by commas: {', '.join(TASK_CHOICES)}.")
    ] = "summary",
    style: Annotated[
        str | None, typer.Option(help=f"Styles of the summary, separated by commas: {', '.join(STYLE_CHOICES)}.")
    ] = None,
    job: Annotated[Path | None, typer.Option(help="Job file (.yaml); its videos are ignored.")] = None,
    out: Annotated[
        str | None, typer.Option(help="Output folder for the cache and the results. Required without --job.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="URL of the endpoint, such as http://localhost:8000/v1. Required without --job.")
    ] = None,
    vlm_model: Annotated[
        str | None, typer.Option(help="Vision model that captions shots. Required without --job.")
    ] = None,
    llm_model: Annotated[
        str | None, typer.Option(help="Language model that writes the results. Required without --job.")
    ] = None,
    api_key_env: Annotated[str, typer.Option(help="Environment variable that holds the API key.")] = "OPENAI_API_KEY",
    task_id: Annotated[
        str | None, typer.Option(help="Name of the result, for later commands. Default: the video's id.")
    ] = None,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per event.")] = False,
    quiet: Quiet = False,
) -> None:
    """Analyze one video (shots, summary, titles, mind map) and stream the results.

    Run the same command again to resume it after an interruption. Nothing is paid twice.
    """
    given: dict[str, Any] = {"analysis.tasks": tasks.split(",")}
    if style:
        given["analysis.summary.styles"] = style.split(",")
    if out:
        given["output"] = out
    sets = [*(f"{key}={json.dumps(value)}" for key, value in given.items()), *(overrides or [])]
    placed = f"videos={json.dumps([video or VIDEO])}"
    if job:
        if base_url or vlm_model or llm_model:
            fail("--base-url and the models cannot be combined with --job: use --set endpoints.vlm.model=... instead.")
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
