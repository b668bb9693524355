"""Overhead of the graph for many videos: ``python benchmarks/scale_graph.py [--videos 100 1000 ...] [--plot PNG]``.

Videos and endpoint are stubs of almost no cost, so the result is the cost of Ray, the rate limiter, the journal, the
clip assembler and the tables. Each size runs in its own process, with Ray as the job starts it. Memory is resident
memory, after each tenth of the passes: how it grows shows what is kept of each video. The time in the journal (hashing,
looking up and writing replies) and in the cache of clips is measured in the workers; its share of the run's time
assumes no overlap. Then the finished run is run again with the command line. CPU seconds by process go to stderr.

With ``--mode scenes --clip-takes 0.7`` the frames of a clip take that many seconds of sleep. "Cores busy" is the share
of the passes' time that two cores need for it; the rest is idle time of the graph.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pydantic import SecretStr

from benchmarks.processes import Watch
from benchmarks.scale_worker import environment
from lvqa_ray.config import Job
from lvqa_ray.engine import run
from lvqa_ray.engine.progress import Progress
from lvqa_ray.engine.ray import graph, ray_run
from lvqa_ray.pipeline import Pipeline, build
from lvqa_ray.records import Clip, Frame, ProbedVideo, Video, VideoInfo
from lvqa_ray.stage import ROLES
from lvqa_ray.stage.steps import VideoStep

CLIP_S = 10.0
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


def pipeline(job: Job, *_: object, clips: int, takes_s: float) -> Pipeline:
    real, split = build(job), replace(job.split, mode="fixed")
    looking = [VideoStep("sample", Clip, partial(sample, job=job, takes_s=takes_s), reads=_lacks_pictures)]
    probing = VideoStep("probe", Video, partial(probe, clips=clips))
    splitting = [probing, VideoStep("split", ProbedVideo, split), VideoStep("filter", Clip, job.filter)]
    return replace(real, split=[*splitting, *looking] if job.split.mode == "scenes" else splitting, look=looking)


def _lacks_pictures(clip: Clip) -> bool:
    return not clip.frames


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
                "engine": {"executor": "ray", "num_cpus": 2},
                "ask": {"quota": {"goal": 1}},
                "checks": {"blind": {"policy": "mark"}},  # the stub's guesses are right now and then
            }
        )
        graph.build = partial(pipeline, clips=clips, takes_s=takes_s)
        run.check_endpoints = lambda _: {role: [SecretStr("")] for role in ROLES}
        passes: list[tuple[float, float]] = []
        ray_run.run_pass = partial(_timed, ray_run.run_pass, passes)
        clocks = folder / "clocks"
        clocks.mkdir()
        os.environ |= environment(clocks)
        seen = Watch(folder / "out")
        with seen:
            begun, before = time.time(), time.process_time()
            summary = run.run(job, _ignore)
            seconds, own_s = time.time() - begun, time.process_time() - before - seen.own_s
        again_s, again_cpu_s = rerun(job, folder / "job.yaml")
        if summary.records != videos:
            raise SystemExit(f"{summary.records} records of {videos}: {summary}")
        journal = sum(path.stat().st_size for path in (folder / "out" / "cache").rglob("*.jsonl"))
        passes_s = sum(end - start for start, end in passes)
        last_caption = max(path.stat().st_mtime for path in (folder / "out" / "cache").glob("caption-*.jsonl"))
        return {
            "videos": videos,
            "clips": videos * clips,
            "seconds": seconds,
            "driver_cpu_s": own_s,
            "again_s": again_s,
            "again_cpu_s": again_cpu_s,
            "cpu_s": own_s + sum(seen.cpu_s.values()),
            "passes_s": passes_s,
            "before_s": passes[0][0] - begun,
            "after_s": begun + seconds - passes[-1][1],
            "busy": takes_s * videos * clips / 2 / passes_s,
            "by_process": {"driver (1)": round(own_s, 1)} | seen.by_process,
            "journal_s": sum(float(path.read_text() or 0) for path in clocks.iterdir()),
            "first_record_s": seen.first_record - begun,
            "last_caption_s": last_caption - begun,
            "journal_mb": journal / 2**20,
            "memory_mb": {name: _after_each_tenth(sizes, passes) for name, sizes in seen.memory.items()},
            "peak_mb": {name: max((mb for _, mb in sizes), default=0.0) for name, sizes in seen.memory.items()},
        }


def rerun(job: Job, path: Path) -> tuple[float, float]:
    """Time and CPU time (s) of the command when nothing is left to do: its imports, but no Ray."""
    path.write_text(json.dumps(job.model_dump(mode="json")))
    begun, before = time.monotonic(), os.times()
    command = [sys.executable, "-c", "from lvqa_ray.cli import main; main()", "run", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode or "paid calls" in done.stderr:
        raise SystemExit(done.stderr)
    after = os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return time.monotonic() - begun, cpu_s


def _timed(run_pass: Callable[..., None], passes: list[tuple[float, float]], *args: object, **more: object) -> None:
    begun = time.time()
    run_pass(*args, **more)
    passes.append((begun, time.time()))


def _after_each_tenth(sizes: Sequence[tuple[float, float]], passes: Sequence[tuple[float, float]]) -> list[int]:
    """Resident memory (MB) after each tenth of the passes' time, of a process that ran by then."""
    begun, end = passes[0][0], passes[-1][1]
    times = [begun + (end - begun) * tenth / 10 for tenth in range(1, 11)]
    return [round([mb for at, mb in sizes if at <= time_s][-1]) for time_s in times if sizes and sizes[0][0] <= time_s]


def _ignore(_: Progress) -> None:
    """Take a progress report, as the command line does."""


def report(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| videos | clips | s | ms a video | ms a clip | CPU ms a clip, all | the driver "
        "| inside of the journal | before the passes | after them | first record | last caption | run again "
        "| journal MB |",
        "|" + "---|" * 14,
    ]
    for row in rows:
        cells = [
            row["videos"], row["clips"], f"{row['seconds']:.0f}", f"{1000 * row['seconds'] / row['videos']:.0f}",
            f"{1000 * row['seconds'] / row['clips']:.1f}", f"{1000 * row['cpu_s'] / row['clips']:.0f}",
            f"{1000 * row['driver_cpu_s'] / row['clips']:.0f}",
            f"{100 * row['journal_s'] / row['seconds']:.1f} %", f"{row['before_s']:.1f} s", f"{row['after_s']:.1f} s",
            f"{row['first_record_s']:.0f} s",
            f"{row['last_caption_s']:.0f} s", f"{row['again_s']:.1f} s, {row['again_cpu_s']:.1f} CPU s",
            f"{row['journal_mb']:.1f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "| videos | resident MB after each tenth of the passes | peak |", "|---|---|---|"]
    lines += [
        f"| {row['videos']}: {name} | {' '.join(map(str, sizes))} | {row['peak_mb'][name]:.0f} |"
        for row in rows
        for name, sizes in row["memory_mb"].items()
        if sizes
    ]
    return lines


def further(rows: Sequence[Row]) -> list[str]:
    """Cost of each further clip, from one size to the next: without start-up."""
    lines = ["", "| from | to | ms a further clip | CPU ms | the driver's |", "|---|---|---|---|---|"]
    for less, more in pairwise(rows):
        clips = more["clips"] - less["clips"]
        costs = (1000 * (more[name] - less[name]) / clips for name in ("seconds", "cpu_s", "driver_cpu_s"))
        lines.append(f"| {less['videos']} | {more['videos']} | " + " | ".join(f"{cost:.1f}" for cost in costs) + " |")
    return lines


def plot(rows: Sequence[Row], path: Path) -> None:
    """Plot the time per video and the memory over the number of videos."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only here, and slow to import

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    videos = [row["videos"] for row in rows]
    left.plot(videos, [1000 * row["seconds"] / row["videos"] for row in rows], marker="o")
    left.set(xscale="log", ylim=(0, None), xlabel="videos", ylabel="ms a video, all in all")
    for name in ("driver", *Watch.WHO):
        right.plot(videos, [row["peak_mb"][name] for row in rows], marker="o", label=name)
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
        print(*report(rows[-1:]), sep="\n", file=sys.stderr, flush=True)
        print(rows[-1]["by_process"], f"cores busy: {rows[-1]['busy']:.2f}", file=sys.stderr, flush=True)
    print(*report(rows), *further(rows), sep="\n")
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
