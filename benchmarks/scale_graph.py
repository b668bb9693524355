"""Overhead of the graph for many videos: ``python benchmarks/scale_graph.py [--videos 100 1000 ...] [--plot PNG]``.

Videos and endpoint are stubs of almost no cost, so the result is the cost of Ray, the rate limiter, the journal, the
clip assembler and the tables. Each size runs in its own process. Memory is resident memory; the driver's is given for
the first and the last tenth of the run: both include what is proportional to the corpus, and the difference shows what
grows with the clips. The time in the journal (hashing, looking up and writing replies) and in the cache of clips is
measured in the workers; its share of the run's time assumes no overlap. Then the finished run is run again with the
command line. CPU seconds by process go to stderr.

With ``--mode scenes --clip-takes 0.7`` the frames of a clip take that many seconds of sleep. "Cores busy" is the share
of the passes' time that two cores need for it; the rest is idle time of the graph.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ray
from pydantic import SecretStr

from benchmarks.processes import Watch
from lvqa_ray.config import Job
from lvqa_ray.engine import run
from lvqa_ray.engine.ray import chat_actor, decode_task, graph, ray_run
from lvqa_ray.engine.result_cache import PaidCaptions
from lvqa_ray.engine.row_codec import Packed, pack
from lvqa_ray.engine.step_runner import run_video_steps
from lvqa_ray.journal.found_clips import ClipIndex
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Part, Text
from lvqa_ray.llm.middleware import client
from lvqa_ray.pipeline import Pipeline, build
from lvqa_ray.records import Clip, Frame, ProbedVideo, Usage, Video, VideoInfo
from lvqa_ray.stage import ROLES
from lvqa_ray.stage.steps import VideoStep
from tests.fakes import answers

CLIP_S = 10.0
LATENCY_S = 0.05
Row = dict[str, Any]


def probe(video: Video, clips: int) -> Iterator[ProbedVideo]:
    seconds = clips * CLIP_S
    info = VideoInfo(num_frames=int(25 * seconds), height=90, width=160, fps=25, duration_sec=seconds)
    yield ProbedVideo(video=video, info=info)


def sample(clip: Clip, job: Job, takes_s: float) -> Iterator[Clip]:
    if clip.frames:
        yield clip
        return
    time.sleep(takes_s)
    frames = tuple(Frame(time_s=time_s, jpeg=b"\xff\xd8") for time_s in job.sample.sampling.times(clip.span))
    yield replace(clip, frames=frames, identity=job.sample.identity(clip))


class StubTransport:
    """Stub transport: the fake endpoint's replies after a delay, without a socket."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """See `OpenAITransport`."""
        await asyncio.sleep(LATENCY_S)
        body = {"messages": [{"content": [_part(part) for part in message.parts]} for message in request.messages]}
        usage = Usage(calls=1, input_tokens=100, output_tokens=20)
        return ChatReply(text=answers.answer(body), model="stub", usage=usage)


def _part(part: Part) -> Row:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    return {"type": "image_url", "image_url": {"url": part.identity}}


class NoChild:
    """Stub of the decode process."""

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, steps: Sequence[VideoStep], row: object, *_: object) -> Iterator[Packed]:
        """See `Decoder`."""
        return map(pack, run_video_steps(steps, row, lambda *_: None))


def pipeline(job: Job, *_: object, clips: int, takes_s: float) -> Pipeline:
    real, split = build(job), replace(job.split, mode="fixed")
    looking = [VideoStep("sample", Clip, partial(sample, job=job, takes_s=takes_s), reads=_lacks_pictures)]
    probing = VideoStep("probe", Video, partial(probe, clips=clips))
    splitting = [probing, VideoStep("split", ProbedVideo, split), VideoStep("filter", Clip, job.filter)]
    return replace(real, split=[*splitting, *looking] if job.split.mode == "scenes" else splitting, look=looking)


def _lacks_pictures(clip: Clip) -> bool:
    return not clip.frames


def in_worker() -> None:
    chat_actor.wire = StubTransport
    decode_task.decoder = NoChild
    clock = Clock(Path(os.environ["LVQA_SCALE_CLOCKS"]) / str(os.getpid()))
    client.cache_key = clock.of(client.cache_key)
    for owner, names in ((JournalReplyStore, ("__init__", "get", "put")), (ClipIndex, ("get", "put"))):
        for name in names:
            setattr(owner, name, clock.of(getattr(owner, name)))
    PaidCaptions.get = clock.of(PaidCaptions.get)


class Clock:
    """Profiler that adds up the time in functions (nested calls once), and writes it to a file per process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT)
        self._seconds = 0.0
        self._inside = False

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time is added."""

        def timed(*args: object, **more: object) -> object:
            if self._inside:
                return function(*args, **more)
            self._inside, begun = True, time.perf_counter()
            try:
                return function(*args, **more)
            finally:
                self._inside = False
                self._seconds += time.perf_counter() - begun
                os.pwrite(self._file, f"{self._seconds:20.9f}".encode(), 0)

        return timed


def one(videos: int, clips: int, at_once: int, mode: str, takes_s: float) -> Row:
    """Run once, in this process."""
    with tempfile.TemporaryDirectory(prefix="lvqa-scale-") as name:
        folder = Path(name)
        films = [folder / "films" / f"{number:06d}.mp4" for number in range(videos)]
        films[0].parent.mkdir()
        for film in films:
            film.touch()
        at = {"base_url": "http://127.0.0.1:9/v1", "model": "stub", "api_key_env": None, "max_concurrency": at_once}
        job = Job.of(
            {
                "videos": [str(folder / "films")],
                "output": str(folder / "out"),
                "endpoints": {"vlm": at, "llm": at},
                "split": {"mode": mode, "max_seconds": CLIP_S},
                "sample": {"count": 2},
                "engine": {"executor": "ray"},
                "ask": {"quota": {"goal": 1}},
                "checks": {"blind": {"policy": "mark"}},  # the stub's guesses are right now and then
            }
        )
        graph.build = partial(pipeline, clips=clips, takes_s=takes_s)
        run.check_endpoints = lambda _: {role: [SecretStr("")] for role in ROLES}
        passes: list[float] = []
        ray_run.run_pass = partial(_timed, ray_run.run_pass, passes)
        clocks = folder / "clocks"
        clocks.mkdir()
        begun = time.time()
        hook = {"worker_process_setup_hook": in_worker, "env_vars": {"LVQA_SCALE_CLOCKS": str(clocks)}}
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
                 runtime_env=hook)  # fmt: skip
        ray_s = time.time() - begun
        seen = Watch(folder / "out")
        with seen:
            begun, before = time.time(), time.process_time()
            summary = run.run(job)
            seconds, own_s = time.time() - begun, time.process_time() - before - seen.own_s
        ray.shutdown()
        again_s = rerun(job, folder / "job.yaml")
        if summary.records != videos:
            raise SystemExit(f"{summary.records} records of {videos}: {summary}")
        journal = sum(path.stat().st_size for path in (folder / "out" / "cache").rglob("*.jsonl"))
        last_caption = max(path.stat().st_mtime for path in (folder / "out" / "cache").glob("caption-*.jsonl"))
        return {
            "videos": videos,
            "clips": videos * clips,
            "seconds": seconds,
            "driver_cpu_s": own_s,
            "ray_s": ray_s,
            "again_s": again_s,
            "cpu_s": own_s + sum(seen.cpu_s.values()),
            "passes_s": sum(passes),
            "busy": takes_s * videos * clips / 2 / sum(passes),
            "by_process": {"driver (1)": round(own_s, 1)} | seen.by_process,
            "journal_s": sum(float(path.read_text() or 0) for path in clocks.iterdir()),
            "first_record_s": seen.first_record - begun,
            "last_caption_s": last_caption - begun,
            "journal_mb": journal / 2**20,
            "memory_mb": seen.memory,
        }


def rerun(job: Job, path: Path) -> float:
    """Time (s) of the command when nothing is left to do: its imports, but no Ray."""
    path.write_text(json.dumps(job.model_dump(mode="json")))
    begun = time.monotonic()
    command = [sys.executable, "-c", "from lvqa_ray.cli import main; main()", "run", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode or "paid calls" in done.stderr:
        raise SystemExit(done.stderr)
    return time.monotonic() - begun


def _timed(run_pass: Callable[..., None], passes: list[float], *args: object, **more: object) -> None:
    begun = time.monotonic()
    run_pass(*args, **more)
    passes.append(time.monotonic() - begun)


def report(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| videos | clips | s | ms a video | ms a clip | CPU ms a clip, all | the driver "
        "| inside of the journal | outside of passes | first record | last caption | run again | journal MB "
        "| driver MB, early | late | assembler | rate limiter | chat worker |",
        "|" + "---|" * 18,
    ]
    for row in rows:
        memory = row["memory_mb"]
        driver = memory["driver"]
        cells = [
            row["videos"], row["clips"], f"{row['seconds']:.0f}", f"{1000 * row['seconds'] / row['videos']:.0f}",
            f"{1000 * row['seconds'] / row['clips']:.1f}", f"{1000 * row['cpu_s'] / row['clips']:.0f}",
            f"{1000 * row['driver_cpu_s'] / row['clips']:.0f}",
            f"{100 * row['journal_s'] / row['seconds']:.1f} %", f"{100 * (1 - row['passes_s'] / row['seconds']):.1f} %",
            f"{row['first_record_s']:.0f} s", f"{row['last_caption_s']:.0f} s", f"{row['again_s']:.1f} s",
            f"{row['journal_mb']:.1f}",
            f"{max(driver[: len(driver) // 10 + 3]):.0f}", f"{max(driver[-len(driver) // 10 :]):.0f}",
            *(f"{max(memory[name], default=0):.0f}" for name in Watch.WHO),
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def plot(rows: Sequence[Row], path: Path) -> None:
    """Plot the time per video and the memory over the number of videos."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only here, and slow to import

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    videos = [row["videos"] for row in rows]
    left.plot(videos, [1000 * row["seconds"] / row["videos"] for row in rows], marker="o")
    left.set(xscale="log", ylim=(0, None), xlabel="videos", ylabel="ms a video, all in all")
    for name in ("driver", *Watch.WHO):
        right.plot(videos, [max(row["memory_mb"][name], default=0) for row in rows], marker="o", label=name)
    right.set(xscale="log", ylim=(0, None), xlabel="videos", ylabel="resident memory, MB")
    right.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--videos", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--clips", type=int, default=5, help="clips of a video")
    parser.add_argument("--at-once", type=int, default=64, help="requests under way at once")
    parser.add_argument("--mode", choices=("fixed", "scenes"), default="fixed", help="as split.mode")
    parser.add_argument("--clip-takes", type=float, default=0.0, help="seconds that the pictures of a clip take")
    parser.add_argument("--plot", type=Path, help="where to draw time and memory (PNG)")
    parser.add_argument("--one", action="store_true", help="measure one size in this process and print it as JSON")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.videos[0], args.clips, args.at_once, args.mode, args.clip_takes)))
        return
    rows = []
    for videos in args.videos:
        words = [__file__, "--one", "--videos", videos, "--clips", args.clips, "--at-once", args.at_once]
        words += ["--mode", args.mode, "--clip-takes", args.clip_takes]
        done = subprocess.run([sys.executable, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(report(rows)[-1], file=sys.stderr, flush=True)
        print(rows[-1]["by_process"], f"cores busy: {rows[-1]['busy']:.2f}", file=sys.stderr, flush=True)
    print(*report(rows), sep="\n")
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
