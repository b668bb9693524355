"""A real small language model, served by a run on two Ray nodes: two replicas, one killed, and the driver killed.

``python benchmarks/served_cluster.py [replica | driver]`` prints what happened. It fails if a video is lost, a reply is
in the journal twice, or a server is left. It needs the extra llama_cpp, and downloads the model once (93 MB).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.demo.endpoint import DemoEndpoint
from lvqa_ray.demo.language_model import fetch_language_model
from lvqa_ray.llm.endpoint import DEMO_MODEL
from tests import media

WITHIN_S = 1200.0
LVQA = [sys.executable, "-c", "from lvqa_ray.cli import main; main()"]
VIDEOS = 4


@contextmanager
def cluster() -> Iterator[str]:
    """Address of a Ray of two nodes."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - Ray takes seconds to import

    folder = tempfile.mkdtemp(prefix="lvqa-ray-")  # short, since sockets lie in it
    os.environ["RAY_TMPDIR"] = folder
    node = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
    try:
        made: Any = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        made.add_node(**node)
        yield made.address
        made.shutdown()
    finally:
        del os.environ["RAY_TMPDIR"]
        shutil.rmtree(folder, ignore_errors=True)


def job(folder: Path, demo: str, model: Path) -> Path:
    """A job whose questions the small model writes, in short replies: their number counts here, not their use."""
    folder.mkdir()
    at = {"base_url": demo, "model": DEMO_MODEL, "api_key_env": None}
    videos = [
        media.make_video(folder / f"{name}.mp4", seconds=12 + n, scenes=(4, 8))
        for n, name in enumerate(("one", "two", "three", "four"))
    ]
    small = {"engine": "llama_cpp", "model": str(model), "replicas": 2, "slots": 2, "cpus": 0.5, "max_tokens": 24}
    content = {
        "videos": [str(video) for video in videos],
        "output": str(folder / "out"),
        "endpoints": {"vlm": at, "checker": at, "llm": small | {"engine_args": {"ctx_size": 8192}}},
        "split": {"max_seconds": 6},
        "ask": {
            "quota": {"temporal": 1, "goal": 1},
            "per_call": 1,
            "reasks": 0,
            "fresh_tries": 0,
            "kinds": {"order": 1},
        },
        "engine": {"executor": "ray"},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def servers(model: Path) -> list[int]:
    """Processes that serve a model, without their keepers."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")[:-1]
        except (OSError, UnicodeDecodeError):
            continue
        if "-m" in words[:3] and words[2:3] == ["lvqa_ray.llm.engines.xllamacpp_server"] and str(model) in words:
            found.append(int(process.name))
    return found


def replies(path: Path) -> Counter[str]:
    """Replies of the language model in the journal, by key."""
    lines = [line for file in (path.parent / "out" / "cache").glob("ask-*.jsonl") for line in file.open()]
    return Counter(json.loads(line)["key"] for line in lines if line.endswith("\n"))


def wait(what: str, holds: Callable[[], bool], run: subprocess.Popen[bytes] | None = None) -> float:
    """Wait for something; returns how long it took (s)."""
    begun = time.monotonic()
    while not holds():
        if run is not None and run.poll() is not None:
            raise SystemExit(f"The run ended before {what}.")
        if time.monotonic() - begun > WITHIN_S:
            raise SystemExit(f"No {what} in {WITHIN_S:.0f} s.")
        time.sleep(0.05)
    return time.monotonic() - begun


@contextmanager
def started(path: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    with (path.parent / "log").open("ab") as log:
        run = subprocess.Popen(
            [*LVQA, "run", str(path)],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"RAY_ADDRESS": address},
        )
        try:
            yield run
        finally:
            if run.poll() is None:
                run.kill()
                run.wait()


def check(path: Path) -> str:
    """Each video has one outcome, and no reply is in the journal twice."""
    out = path.parent / "out"
    outcomes = Counter({row["video_id"] for row in read_rows(out, "data")})
    outcomes.update({row["id"] for row in read_rows(out, "failures")} - set(outcomes))
    paid = replies(path)
    if len(outcomes) != VIDEOS or set(paid.values()) != {1}:
        raise SystemExit(f"Lost or paid twice: {outcomes}, {paid}")
    return f"{len(outcomes)} of {VIDEOS} videos have an outcome, {paid.total()} replies are in the journal, none twice"


def killed_replica(folder: Path, demo: str, model: Path, address: str) -> None:
    path = job(folder, demo, model)
    with started(path, address) as run:
        print(f"- two servers started in {wait('server', lambda: len(servers(model)) == 2, run):.0f} s;")
        print(f"- first reply after another {wait('reply', lambda: replies(path).total() > 1, run):.0f} s;")
        killed, *_ = servers(model)
        os.kill(killed, signal.SIGKILL)
        before = replies(path).total()
        print(f"- one killed (SIGKILL) after {before} replies;")

        def came_back() -> bool:
            return len(servers(model)) == 2 and killed not in servers(model)

        took = wait("new server", lambda: came_back() or run.poll() is not None)
        print(f"- {'another one started' if came_back() else 'the run ended'} {took:.1f} s later;")
        run.wait(WITHIN_S)
    print(f"- the run ended with status {run.returncode}: {check(path)};")
    print(f"- no server was left {wait('end of servers', lambda: not servers(model)):.1f} s after the run.")


def killed_driver(folder: Path, demo: str, model: Path, address: str) -> None:
    path = job(folder, demo, model)
    with started(path, address) as run:
        wait("reply", lambda: replies(path).total() > 2, run)
        run.kill()
        run.wait()
        before = replies(path).total()
    print(f"- the driver was killed (SIGKILL) after {before} replies;")
    print(f"- no server was left {wait('end of servers', lambda: not servers(model)):.1f} s later;")
    with started(path, address) as again:
        again.wait(WITHIN_S)
    print(f"- the rerun ended with status {again.returncode}: {check(path)};")
    print(f"- no server was left {wait('end of servers', lambda: not servers(model)):.1f} s after it.")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="lvqa-served-") as scratch, DemoEndpoint() as demo, cluster() as address:
        model = Path(scratch) / "smollm2.gguf"  # a name of its own, by which its servers are found
        model.symlink_to(fetch_language_model())
        for title, scenario in (("A killed replica", killed_replica), ("A killed driver", killed_driver)):
            if sys.argv[1:] not in ([], [title.rpartition(" ")[2]]):
                continue
            print(f"## {title}\n")
            try:
                scenario(Path(scratch) / scenario.__name__, demo.url, model, address)
            except BaseException:
                print((Path(scratch) / scenario.__name__ / "log").read_text()[-6000:], file=sys.stderr)
                raise
            print()


if __name__ == "__main__":
    main()
