"""Scaling of the graph over nodes, and backpressure: ``python benchmarks/cluster.py nodes|pressure``.

All nodes are on this machine. Both run the real graph, HTTP client and rate limits against a fake endpoint. Decoders
are stubs that hold one of Ray's cores and sleep, so that Ray may have more cores than the machine: the benchmark
measures whether the graph keeps every core busy, not the speed of decoding. ``nodes`` runs videos on 1, 2 and 4 nodes,
two to four minutes each on two cores, with the endpoint as the bottleneck and with decoding as the bottleneck.
Endpoint, driver and the processes of all nodes share the real cores, and a saturated CPU delays requests: so the
seconds with spare CPU are also evaluated separately. ``pressure`` has an endpoint that takes 1/20 of what the decoders
produce, and measures what accumulates.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ray
from ray.cluster_utils import Cluster

from benchmarks.load import Load
from benchmarks.piles import Piles, plot
from benchmarks.scale_graph import probe
from benchmarks.scale_worker import NoChild
from benchmarks.watcher import Watcher
from lvqa_ray.config import Job
from lvqa_ray.engine import run
from lvqa_ray.engine.ray import decode_task, graph
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
"""Size of each of the eight frames of a clip, with a slow endpoint."""
ANSWER_S, AT_ONCE = 2.0, 8
"""Endpoint as the bottleneck: seconds per reply, and concurrent requests."""
CLIP_S = 1.0
"""Decoding as the bottleneck: core seconds per clip."""
PATIENCE_S = 300
Row = dict[str, Any]


def sample(clip: Clip, job: Job, picture_bytes: int, takes_s: float) -> Iterator[Clip]:
    """Stub decoder that sleeps and makes frames of noise, which do not compress."""
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
    """Setup hook of each worker: replaces the decode process."""
    decode_task.decoder = NoChild


@contextmanager
def cluster_of(nodes: int, store_bytes: int) -> Iterator[Path]:
    """Start a cluster of local nodes, with a folder for it."""
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
    folder: Path,
    fake: FakeEndpoint,
    watch: Watcher,
    *,
    films: int,
    clips: int,
    takes_s: float,
    at_once: int,
    picture_bytes: int = 1000,
    most: int | None = None,
) -> None:
    """One run on the current cluster, with stubbed decoding.

    Args:
        folder: Folder to write to.
        fake: The endpoint.
        watch: The watcher that samples during the run.
        films: Number of videos.
        clips: Number of clips of a video.
        takes_s: Core seconds per clip.
        at_once: Concurrent requests of the endpoint.
        picture_bytes: Size of each of the eight frames of a clip.
        most: Number of requests after which the run is stopped.
    """
    with FileServer() as server:
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
        with watch:
            summary = run.run(job)
        if summary.failures or (summary.records < films and not most):
            raise SystemExit(f"not all films ended well: {summary}")


def on_nodes(nodes: int) -> Row:
    """Both bottlenecks on a cluster with this number of nodes."""
    with cluster_of(nodes, 200 * 2**20) as folder:
        cores = nodes * CPUS
        warm(folder / "warm", cores)
        with FakeEndpoint(latency_s=ANSWER_S, keep_bodies=False) as fake:
            walled = Load(fake)
            stubbed(folder / "walled", fake, walled, films=8, clips=10, takes_s=0.05, at_once=AT_ONCE)
        with FakeEndpoint(keep_bodies=False) as fake:
            free = Load(fake)
            stubbed(folder / "free", fake, free, films=4 * cores, clips=4, takes_s=CLIP_S, at_once=64)
    room = walled.in_flight_with_room
    return {
        "busy": walled.in_flight / AT_ONCE,
        "with_room": None if room is None else room / AT_ONCE,
        "rate": free.rate,
        "cpu": (walled.cpu, free.cpu),
    }


def warm(folder: Path, cores: int) -> None:
    """Warm-up: start a worker for each core before the measurement; eight workers start slowly on two real cores."""
    folder.mkdir()

    @ray.remote(num_cpus=1)
    def there(number: int) -> None:
        import lvqa_ray.engine.ray.graph  # noqa: F401, PLC0415 - this is what takes its time

        (folder / str(number)).touch()
        while len(list(folder.iterdir())) < cores:  # barrier: wait for all workers
            time.sleep(0.1)

    ray.get([there.remote(number) for number in range(cores)])


def in_a_process(what: str, **settings: int) -> Row:
    """Output of one measurement, run in a process group with the timeout `PATIENCE_S`."""
    command = [sys.executable, __file__, what, "--one", json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said, talk = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            for pid in (process.pid, *below(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise SystemExit(f"{what} {settings} took more than {PATIENCE_S} s") from None
    if process.returncode:
        raise SystemExit(said[-3000:] + talk[-3000:])
    row: Row = json.loads(said.splitlines()[-1])
    return row


def show_nodes(counts: Sequence[int]) -> None:
    print("| nodes | cores | endpoint the wall: of its limit | where the machine had CPU left | CPU in use | ", end="")
    print("decoding the wall: clips/s | of what the cores can | CPU in use |")
    print("|---|---|---|---|---|---|---|---|")
    for nodes in counts:
        row, cores = in_a_process("nodes", nodes=nodes), nodes * CPUS
        room = "never" if row["with_room"] is None else f"{row['with_room']:.2f}"
        walled, free = (f"{used:.2f}" for used in row["cpu"])
        of_cores = f"{row['rate'] * CLIP_S / cores:.2f}"
        cells = (nodes, cores, f"{row['busy']:.2f}", room, walled, f"{row['rate']:.2f}", of_cores, free)
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def behind_a_slow_endpoint(most: int) -> Row:
    """Backpressure: two cores make 20 clips of 1 MB per second, and the endpoint takes one."""
    with cluster_of(1, 100 * 2**20) as folder, FakeEndpoint(latency_s=1.0, keep_bodies=False) as fake:
        watch = Piles(folder / "scratch", fake)
        heavy = {"picture_bytes": PICTURE_BYTES, "most": most}
        stubbed(folder, fake, watch, films=24, clips=60, takes_s=0.1, at_once=1, **heavy)
    return {"answers": fake.paid.total(), "looks": watch.looks} | watch.peaks


def show_pressure(path: Path | None) -> None:
    print("| answers | decoders could have made | object store | spilled | all processes | scratch |")
    print("|---|---|---|---|---|---|")
    for most in (30, 90):
        row = in_a_process("pressure", most=most)
        cells = (row[kind] / 2**20 for kind in ("store", "spilled", "memory", "scratch"))
        could = f"{20 * row['answers'] * 8 * PICTURE_BYTES / 2**20:.0f} MB"
        print(f"| {row['answers']} | {could} | " + " | ".join(f"{mb:.0f} MB" for mb in cells) + " |", flush=True)
    if path:
        plot(row["looks"], path, 20 * 8 * PICTURE_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["nodes", "pressure"])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4], help="how many nodes")
    parser.add_argument("--plot", type=Path, help="pressure: where to draw what lies about (PNG)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        which = {"nodes": on_nodes, "pressure": behind_a_slow_endpoint}
        print(json.dumps(which[args.what](**json.loads(args.one))))
    elif args.what == "nodes":
        show_nodes(args.nodes)
    else:
        show_pressure(args.plot)


if __name__ == "__main__":
    main()
