"""Streaming analysis of one video on the terminal, for ``lvqa analyze``."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import asdict
from typing import Any

from lvqa_ray.cli.display.terminal import fail, plain, say, say_json, talk
from lvqa_ray.config import Job, output_path, storage_options
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.dataset.identities import identified
from lvqa_ray.engine.local.analysis_document import AnalysisDocument, usage_fields
from lvqa_ray.engine.local.analysis_store import TASK_NAME, AnalysisStore
from lvqa_ray.engine.local.executor import LocalExecutor, Result
from lvqa_ray.engine.preflight.validation import check_output, check_prices
from lvqa_ray.errors import ConfigError, RunStopped
from lvqa_ray.records import Analysis, CaptionedClip, CaptionedVideo, Clip, Failure, ProbedVideo, Video, redact_url
from lvqa_ray.records.timecodes import clock, clocks
from lvqa_ray.storage.paths import describe_os_error
from lvqa_ray.storage.run_lock import run_lock


def analyze_video(job: Job, video: str | None, task_id: str | None, *, as_json: bool, quiet: bool) -> int:
    """Analyze one video, print results as they arrive, and return the exit status.

    Args:
        job: The job.
        video: A file or a URL; ``None`` for the video of an earlier result.
        task_id: Name of the result, and of an earlier result to build on.
        as_json: Print JSON Lines.
        quiet: Print only problems.
    """
    printer = _Printer(as_json=as_json, quiet=quiet)
    folder = output_path(job)
    if task_id and not TASK_NAME.fullmatch(task_id):
        fail(f"--task-id {task_id} is not valid: use letters, digits, '_', '-' and '.', at most 120 characters.")
    check_output(folder)
    check_prices(job)
    with run_lock(folder):
        store = AnalysisStore(folder)
        subject = _video(job, video, store.of(task_id) if task_id else [], task_id)
        executor = LocalExecutor(job)
        analysis = AnalysisDocument(
            task=task_id or subject.id, session=executor.run_id, video=subject, tasks=job.analysis.wanted
        )

        async def stream() -> None:
            task = asyncio.current_task()
            if task:
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            try:
                async with aclosing(executor.rows(job, subject)) as rows:
                    async for row in rows:
                        analysis.add(row)
                        printer.print_row(row, analysis)
                        if isinstance(row, Analysis):
                            store.save(analysis.document())
            except BaseException:
                analysis.state = "stopped"
                raise
            finally:
                store.save(analysis.document())
                await executor.aclose()

        try:
            asyncio.run(stream())
        except asyncio.CancelledError:
            return 128 + signal.SIGTERM
        except OSError as error:  # from the output, after the first paid call
            raise RunStopped(describe_os_error(error)) from error
    printer.end(analysis)
    if executor.chats.exhausted:
        return 3
    return 1 if analysis.lacks else 0


def _video(job: Job, video: str | None, before: list[dict[str, Any]], task_id: str | None) -> Video:
    """The video to analyze: the given one, or that of an earlier result."""
    access = storage_options(job.storage)
    if video is None:
        if not task_id:
            fail("give a video, or the --task-id of an earlier result.")
        if not before:
            fail(f"there is no result {task_id} in {job.output}: give the video.")
        known = before[0]["video"]
        with suppress(ConfigError):
            file = read_manifest([known["uri"]], access=access)[0]
            # An earlier release identified the file by size and time, also in the cache keys of its replies.
            return file if file.fingerprint == known["fingerprint"] else identified(file, output_path(job), access)
        return Video(id=known["id"], uri=known["uri"], fingerprint=known["fingerprint"])  # all replies may be cached
    found = read_manifest([video], access=access)
    if len(found) != 1:
        fail(f"{redact_url(video)} contains {len(found)} videos: give one of them, or use lvqa run.")
    return identified(found[0], output_path(job), access)


class _Printer:
    """Prints rows as they arrive: data to stdout, messages to stderr.

    Args:
        as_json: Print JSON Lines.
        quiet: Print only problems.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._shots = 0
        self._next = 0

    def print_row(self, row: Result, analysis: AnalysisDocument) -> None:
        """Print a row; shots in time order."""
        match row:
            case ProbedVideo():
                info = row.info
                self._print(f"{row.video.id}: {clock(info.duration_sec)}, {info.width}x{info.height}, {info.fps:g} fps")
            case Clip() if row.last:
                self._print(f"{analysis.found} shots")
            case CaptionedClip():
                self._print_shots(analysis)
            case CaptionedVideo():
                self._print(f"captioned: {row.num_clips} of {len(row.clips)} shots")
                if row.speech and self._as_json:
                    self._data({"event": "speech", "lines": [asdict(line) for line in row.speech]})
            case Analysis():
                self._print_result(row)
            case Failure():
                talk.print(f"[bold red]failed:[/] {plain(row.stage)}: {plain(row.message)}", soft_wrap=True)

    def end(self, analysis: AnalysisDocument) -> None:
        """Print the final state and cost."""
        document = analysis.document()
        if self._as_json:
            self._data({"event": "end", **document})
        usage = analysis.usage
        cost = "" if usage.cost_usd is None else f", ${usage.cost_usd:.4f}"
        self._print(
            f"{analysis.state}: {usage.calls} replies, {usage.cached} of them from the cache; "
            f"{usage.input_tokens} tokens in, {usage.output_tokens} out{cost}; saved as {analysis.task}"
        )

    def _print_shots(self, analysis: AnalysisDocument) -> None:
        while (row := analysis.captions.get(self._next)) is not None:
            self._next += 1
            if "analysis" not in analysis.tasks or not row.caption.strip():
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

    def _print_result(self, row: Analysis) -> None:
        if row.failure:
            talk.print(f"[bold red]{row.task} failed:[/] {plain(row.failure.message)}", soft_wrap=True)
        if self._as_json:
            result = asdict(row) | {"usage": usage_fields(row.usage), "failure": row.failure and row.failure.message}
            self._data({"event": "result", **result})
        elif not row.failure and row.task != "analysis":  # its shots are already printed
            say(f"\n# {row.task}{f' ({row.style})' if row.style else ''}\n\n{_readable(row)}")

    def _data(self, value: Mapping[str, Any]) -> None:
        say_json(value, indent=None)

    def _print(self, text: str) -> None:
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
