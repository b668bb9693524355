"""The graph on several nodes, and behind a slow endpoint: ``python benchmarks/cluster.py nodes|pressure``.

All nodes are on this machine. ``nodes`` and ``pressure`` run the real graph, its real HTTP client and limits against an
endpoint that is faked; decoders are stubs that sleep, so that a core given to Ray is a core, however many the machine
has. ``nodes`` runs the same films on 1, 2, ... nodes: once where the endpoint is the wall, once where decoding is.
``pressure`` has an endpoint that takes a twentieth of what the decoders make, and watches what piles up.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from ray.cluster_utils import Cluster

from benchmarks.scale_graph import NoChild, probe
from benchmarks.watcher import Watcher
from lvqa_ray.config import Job
from lvqa_ray.engine import graph, run, video_work
from lvqa_ray.pipeline import Pipeline, build
from lvqa_ray.records import Clip, Frame, Video
from lvqa_ray.stage.steps import VideoStep
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.files import FileServer
from tests.storm.storm import below

CPUS = 2
"""Cores of a node."""
FILM_BYTES = 2 * 2**20
SCRATCH_BYTES = 16 * 2**20
PICTURE_BYTES = 125_000
"""Of each of the eight pictures of a clip, behind a slow endpoint."""
Row = dict[str, Any]


def sample(clip: Clip, job: Job, picture_bytes: int, takes_s: float) -> Iterator[Clip]:
    """A stub that takes its time and makes pictures of noise, which nothing shrinks on its way."""
    time.sleep(takes_s)
    times = job.sample.sampling.times(clip.span)
    frames = tuple(Frame(time_s=at, jpeg=b"\xff\xd8" + os.urandom(picture_bytes)) for at in times)
    yield replace(clip, frames=frames, identity=job.sample.identity(clip))


def pipeline(job: Job, *_: object, clips: int, picture_bytes: int, takes_s: float) -> Pipeline:
    real = build(job)
    split = [
        VideoStep("probe", Video, partial(probe, clips=clips)),
        *(step for step in real.split if step.name in ("split", "filter")),
    ]
    look = VideoStep("sample", Clip, partial(sample, job=job, picture_bytes=picture_bytes, takes_s=takes_s))
    return replace(real, split=split, look=[look])


def no_child() -> None:
    """Runs in each worker as it starts."""
    video_work.decoder = NoChild


@contextmanager
def cluster_of(nodes: int, store_bytes: int) -> Iterator[Path]:
    """A cluster of local nodes, and a folder for it."""
    folder = Path(tempfile.mkdtemp(prefix="lvqa-ray-"))  # short, since sockets lie in it
    os.environ["RAY_TMPDIR"] = str(folder)
    logging.disable(logging.WARNING)
    node = {"num_cpus": CPUS, "object_store_memory": store_bytes}
    cluster: Any = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**node)
        hook = {"worker_process_setup_hook": no_child}
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=hook)
        yield folder
    finally:
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def stubbed(
    *,
    nodes: int,
    films: int,
    clips: int,
    takes_s: float,
    latency_s: float,
    at_once: int,
    picture_bytes: int = 1000,
    store_mb: int = 200,
    most: int | None = None,
) -> Row:
    """One run of films behind a URL, each of so many clips that take a decoder so long.

    Args:
        nodes: Nodes of the cluster.
        films: Films.
        clips: Clips of a film.
        takes_s: Seconds of a core that a clip takes.
        latency_s: Seconds that the endpoint takes for an answer.
        at_once: Requests that it takes at the same time.
        picture_bytes: Size of each of the eight pictures of a clip.
        store_mb: Object store of a node.
        most: Requests after which the run is stopped.
    """
    fakes = FakeEndpoint(latency_s=latency_s, keep_bodies=False), FileServer()
    with cluster_of(nodes, store_mb * 2**20) as folder, fakes[0] as fake, fakes[1] as server:
        server.files = {f"/film{number}.mp4": os.urandom(FILM_BYTES) for number in range(films)}
        at = {"base_url": fake.base_url, "model": "fake-vlm", "api_key_env": None, "max_concurrency": at_once}
        job = Job.of(
            {
                "videos": [f"{server.url}{name}" for name in server.files],
                "output": str(folder / "out"),
                "endpoints": {"vlm": at, "llm": at},
                "split": {"max_seconds": 10.0},
                "checks": {"duplicates": {"corpus": False}, "blind": {"policy": "off"}, "solve": {"policy": "off"}},
                "engine": {
                    "scratch_dir": str(folder / "scratch"),
                    "scratch_gb": SCRATCH_BYTES / 2**30,
                    "max_requests": most,
                },
            }
        )
        graph.build = partial(pipeline, clips=clips, picture_bytes=picture_bytes, takes_s=takes_s)
        watch = Watch(folder / "scratch", fake)
        with watch:
            summary = run.run(job)
        if summary.failures or (summary.records < films and not most):
            raise SystemExit(f"not all films ended well: {summary}")
        told = {"rate": watch.rate, "busy": watch.busy / at_once, "answers": fake.paid.total(), "looks": watch.looks}
        return told | watch.peaks


class Watch(Watcher):
    """Looks at what piles up, five times a second, for as long as the block runs.

    Attributes:
        peaks: Most bytes in the object stores, spilled to disk, in all processes, and in the scratch folder.
        looks: Each look: when it was (s), answers so far, and these bytes.
    """

    def __init__(self, scratch: Path, fake: FakeEndpoint) -> None:
        self.peaks = {"store": 0, "spilled": 0, "memory": 0, "scratch": 0}
        self.looks: list[Row] = []
        self._answers: list[tuple[float, int]] = []
        self._in_flight: list[int] = []
        self._scratch = scratch
        self._fake = fake
        super().__init__(every_s=0.2)

    @property
    def rate(self) -> float:
        """Answers a second, from the first tenth of them to the last tenth: before and after, the graph is not full."""
        count = self._answers[-1][1]
        inner = [each for each in self._answers if count / 10 <= each[1] <= count * 9 / 10]
        (begin, first), (end, last) = inner[0], inner[-1]
        return (last - first) / (end - begin)

    @property
    def busy(self) -> float:
        """Requests under way, in the mean over that time."""
        inner = self._in_flight[len(self._in_flight) // 10 : len(self._in_flight) * 9 // 10]
        return sum(inner) / max(1, len(inner))

    def look(self) -> None:
        """See `Watcher`."""
        scratch = sum(path.stat().st_size for path in self._scratch.glob("*.mp4")) if self._scratch.exists() else 0
        now = {"memory": memory_bytes(), "scratch": scratch, **store_bytes()}
        self.peaks = {kind: max(most, now.get(kind, 0)) for kind, most in self.peaks.items()}
        answered = self._fake.paid.total()
        self.looks.append({"at": time.monotonic(), "answers": answered, **now})
        if answered:
            self._in_flight.append(self._fake.in_flight)
            if not self._answers or answered > self._answers[-1][1]:
                self._answers.append((time.monotonic(), answered))


def store_bytes() -> Mapping[str, int]:
    """Bytes in the object stores of all nodes, and those that they have put on disk for lack of room."""
    with suppress(Exception):  # between two runs there is none to ask
        stats = get_memory_info_reply(get_state_from_address(ray.get_runtime_context().gcs_address)).store_stats
        return {"store": int(stats.object_store_bytes_used), "spilled": int(stats.spilled_bytes_total)}
    return {}


def memory_bytes() -> int:
    """Resident bytes of this process and all below it that are not shared."""
    total = 0
    for pid in (os.getpid(), *below(os.getpid())):
        with suppress(OSError, ValueError):
            _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
            total += (resident - shared) * 4096
    return total


def in_a_process(what: Callable[..., Row], **settings: object) -> Row:
    name = "pressure" if what is behind_a_slow_endpoint else what.__name__
    command = [sys.executable, __file__, name, "--one", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def show_nodes(counts: Sequence[int]) -> None:
    print("| nodes | cores | endpoint the wall: in use of its limit | decoding the wall: clips/s | of one node |")
    print("|---|---|---|---|---|")
    first = 0.0
    for nodes in counts:
        walled = in_a_process(
            stubbed, nodes=nodes, films=8, clips=30, takes_s=0.05, latency_s=1.0, at_once=8, picture_bytes=30_000
        )
        free = in_a_process(stubbed, nodes=nodes, films=8, clips=10 * nodes, takes_s=1.0, latency_s=0.0, at_once=64)
        first = first or free["rate"]
        cells = nodes, nodes * CPUS, f"{walled['busy']:.2f}", f"{free['rate']:.2f}", f"{free['rate'] / first:.2f}"
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def behind_a_slow_endpoint(most: int) -> Row:
    """Two cores make 20 clips a second of 1 MB each, and the endpoint takes one."""
    slow = {"nodes": 1, "films": 24, "clips": 60, "takes_s": 0.1, "latency_s": 1.0, "at_once": 1}
    return stubbed(**slow, picture_bytes=PICTURE_BYTES, store_mb=100, most=most)


def show_pressure(path: Path | None) -> None:
    print("| answers | decoders could have made | object store | spilled | all processes | scratch |")
    print("|---|---|---|---|---|---|")
    for most in (30, 90):
        row = in_a_process(behind_a_slow_endpoint, most=most)
        cells = (row[kind] / 2**20 for kind in ("store", "spilled", "memory", "scratch"))
        could = f"{20 * row['answers'] * 8 * PICTURE_BYTES / 2**20:.0f} MB"
        print(f"| {row['answers']} | {could} | " + " | ".join(f"{mb:.0f} MB" for mb in cells) + " |", flush=True)
    if path:
        plot_pressure(row["looks"], path)


def plot_pressure(looks: Sequence[Row], path: Path) -> None:
    """What lies about over time, beside what decoders that nothing holds back would have made."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only here, and slow to import

    first = next(look["at"] for look in looks if look["answers"])
    figure, axes = plt.subplots(figsize=(7, 4))
    seconds = [look["at"] - first for look in looks if look["at"] >= first and "store" in look]
    for name, label in (("store", "object store"), ("scratch", "scratch folder")):
        values = [look[name] / 2**20 for look in looks if look["at"] >= first and "store" in look]
        axes.plot(seconds, values, label=label)
    could = [at * 20 * 8 * PICTURE_BYTES / 2**20 for at in seconds]
    axes.plot(seconds, could, linestyle="--", label="decoders that nothing holds back")
    axes.set(xlabel="seconds since the first answer", ylabel="MB", ylim=(0, 400))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["nodes", "pressure", "stubbed"])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3, 4], help="how many nodes")
    parser.add_argument("--plot", type=Path, help="pressure: where to draw what lies about (PNG)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        which = {"stubbed": stubbed, "pressure": behind_a_slow_endpoint}
        print(json.dumps(which[args.what](**json.loads(args.one))))
    elif args.what == "nodes":
        show_nodes(args.nodes)
    else:
        show_pressure(args.plot)


if __name__ == "__main__":
    main()
