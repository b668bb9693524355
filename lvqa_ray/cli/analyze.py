"""``lvqa analyze``: one video, told as it goes."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lvqa_ray.cli.display.terminal import fail, plain, say, say_json, talk
from lvqa_ray.cli.run import Overrides, Quietly, endpoints_of
from lvqa_ray.config import Job
from lvqa_ray.config.places import storage_options
from lvqa_ray.errors import ConfigError, RunStopped
from lvqa_ray.records import (
    STYLES,
    TASKS,
    Analysis,
    CaptionedClip,
    CaptionedVideo,
    Clip,
    Failure,
    ProbedVideo,
    Video,
    redact_url,
)
from lvqa_ray.records.timecodes import clock, clocks

if TYPE_CHECKING:
    from lvqa_ray.engine.local.analysis_document import AnalysisDocument

VIDEO = "(the video of the command)"


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
        loaded = Job.load(job, [placed, *sets])
    else:
        needed = {"--out": out, "--base-url": base_url, "--vlm-model": vlm_model, "--llm-model": llm_model}
        if missing := [name for name, value in needed.items() if not value]:
            fail(f"without --job, {', '.join(missing)} must be given.")
        endpoints = endpoints_of(base_url, api_key_env, {"vlm": vlm_model, "llm": llm_model})
        loaded = Job.of(
            {"videos": [video or VIDEO], "output": out, "endpoints": endpoints}, sets, where="the command line"
        )
    raise typer.Exit(_analyze(loaded, video, task_id, _Teller(as_json=as_json, quiet=quiet)))


def _analyze(job: Job, video: str | None, task_id: str | None, teller: _Teller) -> int:
    from lvqa_ray.config.places import output_path  # noqa: PLC0415
    from lvqa_ray.engine.local.analysis_document import AnalysisDocument  # noqa: PLC0415
    from lvqa_ray.engine.local.analysis_store import NAME, AnalysisStore  # noqa: PLC0415
    from lvqa_ray.engine.local.executor import LocalExecutor  # noqa: PLC0415 - the video libraries take a second to import
    from lvqa_ray.engine.preflight.validation import check_output  # noqa: PLC0415
    from lvqa_ray.storage.paths import describe_os_error  # noqa: PLC0415
    from lvqa_ray.storage.run_lock import run_lock  # noqa: PLC0415

    folder = output_path(job)
    if task_id and not NAME.fullmatch(task_id):
        fail(f"--task-id {task_id} is no name: letters, digits, '_', '-' and '.', at most 120 of them.")
    check_output(folder)
    with run_lock(folder):
        kept = AnalysisStore(folder)
        subject = _video(job, video, kept.of(task_id) if task_id else [], task_id)
        analyst = LocalExecutor(job)
        dossier = AnalysisDocument(
            task=task_id or subject.id, session=analyst.run_id, video=subject, tasks=job.analysis.wanted
        )

        async def all_of_it() -> None:
            here = asyncio.current_task()
            if here:
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, here.cancel)
            try:
                async with aclosing(analyst.rows(job, subject)) as rows:
                    async for row in rows:
                        dossier.add(row)
                        teller.tell(row, dossier)
                        if isinstance(row, Analysis):
                            kept.save(dossier.document())
            except BaseException:
                dossier.state = "stopped"
                raise
            finally:
                kept.save(dossier.document())
                await analyst.aclose()

        try:
            asyncio.run(all_of_it())
        except asyncio.CancelledError:
            return 128 + signal.SIGTERM
        except OSError as error:  # of the output, after the first paid call
            raise RunStopped(describe_os_error(error)) from error
    teller.end(dossier)
    if analyst.chats.exhausted:
        return 3
    return 1 if dossier.lacks else 0


def _video(job: Job, video: str | None, before: list[dict[str, Any]], task_id: str | None) -> Video:
    """What is to be analyzed: the video that is named, or the one of an earlier result."""
    from lvqa_ray.config.places import output_path  # noqa: PLC0415
    from lvqa_ray.corpus.manifest import read_manifest  # noqa: PLC0415
    from lvqa_ray.dataset.identities import identified  # noqa: PLC0415

    access = storage_options(job.storage)
    if video is None:
        if not task_id:
            fail("name a video, or the --task-id of an earlier result.")
        if not before:
            fail(f"there is no result {task_id} in {job.output}; name the video.")
        known = before[0]["video"]
        with suppress(ConfigError):
            file = read_manifest([known["uri"]], access=access)[0]
            # A result of an earlier release names the file by its stamp, and so do the keys of its answers.
            return file if file.fingerprint == known["fingerprint"] else identified(file, output_path(job), access)
        return Video(id=known["id"], uri=known["uri"], fingerprint=known["fingerprint"])  # all may be in the journal
    found = read_manifest([video], access=access)
    if len(found) != 1:
        fail(f"{redact_url(video)} holds {len(found)} videos; name one, or use lvqa run.")
    return identified(found[0], output_path(job), access)


class _Teller:
    """Prints what comes: the data to stdout, the talk to stderr.

    Args:
        as_json: Print lines of JSON.
        quiet: Say nothing but what went wrong.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._shots = 0
        self._next = 0

    def tell(self, row: Any, dossier: AnalysisDocument) -> None:  # noqa: ANN401 - any of the frozen rows
        """Print what a row tells; shots in the order of time."""
        match row:
            case ProbedVideo():
                info = row.info
                self._say(f"{row.video.id}: {clock(info.duration_sec)}, {info.width}x{info.height}, {info.fps:g} fps")
            case Clip() if row.last:
                self._say(f"{dossier.found} shots")
            case CaptionedClip():
                self._tell_shots(dossier)
            case CaptionedVideo():
                self._say(f"seen: {row.num_clips} of {len(row.clips)} shots")
                if row.speech and self._as_json:
                    self._data({"event": "speech", "lines": [asdict(line) for line in row.speech]})
            case Analysis():
                self._tell_result(row)
            case Failure():
                talk.print(f"[bold red]failed:[/] {plain(row.stage)}: {plain(row.message)}", soft_wrap=True)

    def end(self, dossier: AnalysisDocument) -> None:
        """Say what it came to."""
        document = dossier.document()
        if self._as_json:
            self._data({"event": "end", **document})
        usage = dossier.usage
        cost = "" if usage.cost_usd is None else f", ${usage.cost_usd:.4f}"
        self._say(
            f"{dossier.state}: {usage.calls} answers, {usage.cached} of them paid for before; "
            f"{usage.input_tokens} tokens in, {usage.output_tokens} out{cost}; kept as {dossier.task}"
        )

    def _tell_shots(self, dossier: AnalysisDocument) -> None:
        while (row := dossier.captions.get(self._next)) is not None:
            self._next += 1
            if "analysis" not in dossier.tasks or not row.caption.strip():
                continue
            span, text = row.clip.span, " ".join(row.caption.split())
            if self._as_json:
                at = {"start_ms": round(span.start_s * 1000), "end_ms": round(span.end_s * 1000)}
                self._data({"event": "shot", **at, "text": row.caption.strip()})
                continue
            if not self._shots:
                say("# analysis\n")
            self._shots += 1
            say(f"{clocks(span)}  {text}")

    def _tell_result(self, row: Analysis) -> None:
        if row.failure:
            talk.print(f"[bold red]{row.task} failed:[/] {plain(row.failure.message)}", soft_wrap=True)
        if self._as_json:
            told = asdict(row) | {"failure": row.failure and row.failure.message}
            self._data({"event": "result", **told})
        elif not row.failure and row.task != "analysis":  # whose shots have been printed
            say(f"\n# {row.task}{f' ({row.style})' if row.style else ''}\n\n{_readable(row)}")

    def _data(self, value: Mapping[str, Any]) -> None:
        say_json(value, indent=None)

    def _say(self, text: str) -> None:
        if not self._quiet:
            talk.print(plain(text), soft_wrap=True)


def _readable(row: Analysis) -> str:
    if row.task == "mind_map" and isinstance(row.value, Mapping):
        return "\n".join(_branches(row.value, 0))
    if row.task == "titles" and isinstance(row.value, Mapping) and isinstance(titles := row.value.get("titles"), list):
        return "\n".join(f"- {title}" for title in titles)
    return row.text.strip()


def _branches(node: Mapping[str, Any], depth: int) -> list[str]:
    below = [line for child in node.get("children") or [] for line in _branches(child, depth + 1)]
    return [f"{'  ' * depth}- {node['name']}", *below]
