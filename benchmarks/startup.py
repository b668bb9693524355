"""Cost of a small run: ``python benchmarks/startup.py [--executor ray local] [--seconds 10] [--demo]``.

Each repetition is ``lvqa run`` of one video in a new process against a fake endpoint of 50 ms latency, compared with a
process that only imports ``ray.data``. CPU seconds are those of all processes of the run: the kernel's count for the
command and the children it waited for, or the sum of samples of /proc, whichever is larger. On a shared machine, use
CPU seconds and medians.

With ``--beyond`` each executor also runs the beginning of the film, long enough to start all processes: the figures of
a clip are those beyond that run. They stand beside the CPU seconds of decoding alone, see `benchmarks.decode_baseline`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import av
import yaml

from benchmarks.processes import cpu_s
from benchmarks.watcher import Watcher
from lvqa_ray.dataset.shards import read_rows
from tests import media
from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import LVQA, below

LATENCY_S = 0.05
FEW_CLIPS = 12
"""Clips of the beginning of a film, with ``--beyond``: enough for all decoders of a small machine to start."""
SAMPLE_EVERY_S = 0.05


@dataclass
class Cost:
    """Cost of a process and its descendants."""

    wall_s: float
    cpu_s: float
    processes: dict[str, list[float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of processes."""
        return sum(map(len, self.processes.values()))


class Sampler(Watcher):
    """Samples the CPU seconds and the titles of a process and its descendants.

    Args:
        root: Process id.
        every_s: Time between samples (s); each takes some 5 ms of CPU.
    """

    def __init__(self, root: int, every_s: float = SAMPLE_EVERY_S) -> None:
        self._root = root
        self._cpu_s: dict[int, float] = {}
        self._titles: dict[int, str] = {}
        super().__init__(every_s=every_s)

    def look(self) -> None:
        """See `Watcher`."""
        for pid, title in (below(self._root) | {self._root: "the command"}).items():
            self._cpu_s[pid] = max(self._cpu_s.get(pid, 0.0), cpu_s(pid))
            if title.split() and ("IDLE" not in title or pid not in self._titles):
                self._titles[pid] = title

    @property
    def by_title(self) -> dict[str, list[float]]:
        """CPU seconds of each process, by its last title."""
        by: dict[str, list[float]] = {}
        for pid, title in self._titles.items():
            by.setdefault(short(title), []).append(self._cpu_s[pid])
        return dict(sorted(by.items(), key=lambda item: -sum(item[1])))


def short(title: str) -> str:
    """Short title: the program and its module, or Ray's name of a worker."""
    if title.startswith("ray::"):
        return title.strip()
    if "decoding.worker" in title:
        return "decoder"
    names = [Path(word).name for word in title.split() if word[0] != "-"]
    return " ".join(names[:2])[:60]


def measured(command: list[str], env: dict[str, str]) -> Cost:
    """Run a command and measure it.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=env, stdout=said, stderr=said)
        sampler = Sampler(process.pid)
        with sampler:
            status = process.wait()
        wall_s = time.monotonic() - began
        if status:
            said.seek(0)
            raise subprocess.CalledProcessError(status, command, said.read())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    waited_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    by_title = sampler.by_title
    return Cost(wall_s, max(waited_s, sum(map(sum, by_title.values()))), by_title)


def job_file(folder: Path, film: Path, fake: FakeEndpoint, executor: str, options: argparse.Namespace) -> Path:
    at = {"base_url": fake.base_url, "model": "fake-vlm", "api_key_env": None}
    job = {
        "videos": [str(film)],
        "output": str(folder / "out"),
        "endpoints": {"vlm": at, "llm": at},
        "split": {"mode": options.mode, "max_seconds": options.clip_seconds},
        "sample": {"count": options.frames, "short_side": options.short_side},
        "ask": {"quota": {"goal": 1}},
        "engine": {"executor": executor},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


def run_once(film: Path, executor: str, options: argparse.Namespace, env: dict[str, str]) -> tuple[Cost, int]:
    """Run the job once; returns its cost and its number of clips."""
    folder = Path(tempfile.mkdtemp(prefix="lvqa-startup-"))
    try:
        with FakeEndpoint(latency_s=LATENCY_S, keep_bodies=False) as fake:
            command = [*LVQA, "run", str(job_file(folder, film, fake, executor, options)), "--quiet"]
            cost = measured(command, env)
            records = list(read_rows(folder / "out", "data"))
            if len(records) != 1:
                raise SystemExit(f"{len(records)} records, not 1")
            print(f"  {records[0]['num_clips']} clips, {fake.asked} requests, at most {fake.most_in_flight} in flight")
    finally:
        shutil.rmtree(folder)
    return cost, int(records[0]["num_clips"])


def make_film(path: Path, seconds: float, height: int) -> Path:
    """Write a film with a cut every 3 s."""
    cuts = [float(second) for second in range(3, int(seconds), 3)]
    return media.make_video(path, seconds=seconds, scenes=cuts or [seconds / 2], size=(height * 16 // 9, height))


def beginning(film: Path, path: Path, seconds: float) -> Path:
    """Copy the first seconds of the pictures of a film, without decoding them."""
    with av.open(film) as source, av.open(path, "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.pts is None or packet.dts is None or float(packet.dts * packet.time_base) >= seconds:
                break
            packet.stream = copy
            out.mux(packet)
    return path


class FirstRecord(Watcher):
    """Notes when the first shard of records appears in an output; later shards replace it."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._began = time.monotonic()
        self.after_s = float("inf")
        super().__init__(every_s=SAMPLE_EVERY_S)

    def look(self) -> None:
        """See `Watcher`."""
        if self.after_s == float("inf") and any((self._output / "data").glob("*.parquet")):
            self.after_s = time.monotonic() - self._began


def run_demo(env: dict[str, str]) -> None:
    """Measure ``lvqa demo`` and print its first record's time; the sample video must be in the cache."""
    with tempfile.TemporaryDirectory() as folder:
        first = FirstRecord(Path(folder) / "demo")
        with first:
            cost = measured([*LVQA, "demo", "--out", str(Path(folder) / "demo")], env)
    print(
        f"the demo: first record after {first.after_s:.1f} s, end after {cost.wall_s:.1f} s, {cost.cpu_s:.1f} CPU s\n"
    )
    show_processes(cost)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--executor", nargs="+", default=["ray", "local"], choices=["ray", "local", "auto"])
    arguments.add_argument("--seconds", type=float, default=10.0, help="length of the film")
    arguments.add_argument("--clip-seconds", type=float, default=10.0)
    arguments.add_argument(
        "--height", type=int, default=180, help="height of the pictures (px); the width is 16/9 of it"
    )
    arguments.add_argument("--film", type=Path, help="a video of your own")
    arguments.add_argument("--short-side", type=int, default=90, help="of the frames (px)")
    arguments.add_argument("--frames", type=int, default=2, help="frames of a clip")
    arguments.add_argument("--mode", default="fixed", choices=["fixed", "scenes"])
    arguments.add_argument("--beyond", action="store_true", help="compare with few clips, and with decoding alone")
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--demo", action="store_true", help="measure `lvqa demo` instead")
    arguments.add_argument("--json", type=Path, help="write the figures of all repetitions there")
    options = arguments.parse_args()
    # Bytecode is kept, as it is for everybody: else every process compiles the package.
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "RAY_ADDRESS")}
    if options.demo:
        run_demo(env)
        return
    with tempfile.TemporaryDirectory() as folder:
        film = options.film or Path(folder) / "film.mp4"
        if not options.film:
            make_film(film, options.seconds, options.height)
        # Not shorter than 10 s: the questions of the fake endpoint cite times up to there.
        few_s = max(FEW_CLIPS * options.clip_seconds, 10.0)
        few = beginning(film, Path(folder) / "few.mp4", few_s) if options.beyond else film
        importing = [measured([sys.executable, "-c", "import ray.data"], env) for _ in range(options.repeat + 1)][1:]
        import_cpu_s = statistics.median(cost.cpu_s for cost in importing)
        wall_s = statistics.median(cost.wall_s for cost in importing)
        print(f"import ray.data: {wall_s:.2f} s, {import_cpu_s:.2f} CPU s")
        decoding: list[float] = []
        found: dict[str, list[Cost]] = {}
        for executor in options.executor:
            runs = found.setdefault(executor, [])
            print(f"\n{executor}")
            starts = []
            for _ in range(options.repeat):
                if options.beyond:  # each time: the speed of a shared machine changes
                    decoding.append(decoding_alone(film, options, env))
                    starts.append(run_once(few, executor, options, env))
                cost, clips = run_once(film, executor, options, env)
                runs.append(cost)
                print(f"  {cost.wall_s:.1f} s, {cost.cpu_s:.1f} CPU s, {cost.count} processes", flush=True)
            show(runs, import_cpu_s)
            if options.beyond:
                decoding_cpu_s = statistics.median(decoding[-options.repeat :])
                show_beyond(runs, [cost for cost, _ in starts], starts[0][1], clips, decoding_cpu_s)
    if options.json:
        options.json.write_text(
            json.dumps({name: [vars(cost) for cost in runs] for name, runs in found.items()}, indent=1)
        )


def decoding_alone(film: Path, options: argparse.Namespace, env: dict[str, str]) -> float:
    """CPU seconds that PyAV takes to decode what the clips need, and nothing else."""
    baseline = "benchmarks/decode_baseline.py"
    command = [sys.executable, baseline, str(film), str(options.clip_seconds), str(options.frames)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, env=env | {"PYTHONPATH": str(root)}, check=True, stdout=subprocess.PIPE)
    cpu: float = json.loads(done.stdout)["cpu_s"]
    print(f"  PyAV alone: {cpu:.2f} CPU s for what the clips need")
    return cpu


def show_beyond(runs: list[Cost], starts: list[Cost], few: int, clips: int, decoding_cpu_s: float) -> None:
    """Print medians beyond a run of few clips."""
    cpu = statistics.median(cost.cpu_s for cost in runs) - statistics.median(cost.cpu_s for cost in starts)
    wall_s = statistics.median(cost.wall_s for cost in runs) - statistics.median(cost.wall_s for cost in starts)
    first = statistics.median(cost.cpu_s for cost in starts)
    print(
        f"\nbeyond a run of {few} clips ({first:.1f} CPU s, {starts[0].count} processes): "
        f"{1000 * cpu / (clips - few):.0f} CPU ms a clip, "
        f"{(clips - few) / wall_s:.0f} clips/s, {cpu / (decoding_cpu_s * (clips - few) / clips):.2f} x decoding"
    )


def show(runs: list[Cost], import_cpu_s: float) -> None:
    """Print medians, and the processes of the run with the median of CPU seconds."""
    middle = sorted(runs, key=lambda cost: cost.cpu_s)[len(runs) // 2]
    wall_s = statistics.median(cost.wall_s for cost in runs)
    cpu = statistics.median(cost.cpu_s for cost in runs)
    print(
        f"the run: {wall_s:.1f} s, {cpu:.1f} CPU s = {cpu / import_cpu_s:.1f} x the import, {middle.count} processes\n"
    )
    show_processes(middle)


def show_processes(cost: Cost) -> None:
    print("| process | count | CPU s |\n|---|---|---|")
    for title, spent in cost.processes.items():
        print(f"| {title} | {len(spent)} | {sum(spent):.2f} |")


if __name__ == "__main__":
    main()
