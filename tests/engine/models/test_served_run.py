"""Runs that serve their model: two Ray nodes, servers that are killed, and servers that do not start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvqa_ray.dataset.model_use import read_model_use
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.storage.paths import storage_path
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.relay import SCRIPT
from tests.storm.storm import LVQA, Run, below, check, corpus, job_file

WITHIN_S = 60.0
MODEL = "relayed"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Ray with two nodes, of which the next `ray.init` of this machine does not hear."""
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="lvqa-ray-")  # short, since sockets lie in it
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    node = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": 100 * 2**20}
    try:
        made: Any = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        made.add_node(**node)
        yield made.address
        made.shutdown()
    finally:
        os.environ.pop("RAY_TMPDIR")
        if before is not None:
            os.environ["RAY_TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return corpus(tmp_path_factory.mktemp("films"), 3)


def served(folder: Path, fake: FakeEndpoint, videos: Sequence[Path], **changes: Any) -> Path:
    """A job whose model is served by relays to the fake endpoint."""
    path = job_file(folder, fake, videos, engine={"executor": "auto"})
    job = yaml.safe_load(path.read_text())
    port = fake.base_url.removesuffix("/v1").rpartition(":")[2]
    command = [sys.executable, SCRIPT, "{port}", port]
    at = {"engine": "command", "model": MODEL, "command": command, "replicas": 2, "slots": 4, "cpus": 0.5} | changes
    job["endpoints"] = {"vlm": at, "llm": at}
    path.write_text(yaml.safe_dump(job))
    return path


def servers(fake: FakeEndpoint) -> list[int]:
    """Processes that relay to a fake endpoint, without their keepers."""
    port = fake.base_url.removesuffix("/v1").rpartition(":")[2]
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")[:-1]
        except (OSError, UnicodeDecodeError):
            continue
        if words[1:2] == [SCRIPT] and words[3:4] == [port]:
            found.append(int(process.name))
    return found


def none_is_left(fake: FakeEndpoint) -> bool:
    until = time.monotonic() + WITHIN_S
    while servers(fake) and time.monotonic() < until:
        time.sleep(0.1)
    return not servers(fake)


def kill_driver(job: Path, cluster: str, fake: FakeEndpoint) -> None:
    """Run a job, and kill its driver after the first replies."""
    with Run(job, cluster=cluster) as run:
        assert run.wait_until(lambda: fake.paid.total() > 2), run.said()
        run.signal(signal.SIGKILL)
        assert run.end() == -signal.SIGKILL


def finish(job: Path, cluster: str, fake: FakeEndpoint) -> None:
    """Run a job again to its end, and check the output and what was paid."""
    fake.latency_s = 0.0
    with Run(job, cluster=cluster) as again:
        assert again.end() == 0, again.said()
    assert none_is_left(fake)
    check(job, fake, at_risk=4 + 8)  # warm-ups, and all requests in flight


def without_warm_ups(fake: FakeEndpoint) -> None:
    """Forget the first requests of the servers, which are alike."""
    for body, times in list(fake.paid.items()):
        if times > 1:
            assert sum(other > 1 for other in fake.paid.values()) == 1
            del fake.paid[body]


def test_two_servers_start_and_end_with_the_run(tmp_path: Path, fake: FakeEndpoint, films: list[Path]) -> None:
    """On the local Ray of the run."""
    job = served(tmp_path, fake, films, cpus=0)
    with Run(job) as run:
        assert run.wait_until(lambda: len(servers(fake)) == 2 and fake.paid.total() > 4), run.said()
        assert run.end() == 0, run.said()
        assert f"{MODEL} on command" in run.said()
    assert none_is_left(fake)
    without_warm_ups(fake)
    check(job, fake)


@pytest.mark.timeout(300)
def test_a_killed_server_comes_back_and_nothing_is_lost(
    tmp_path: Path, fake: FakeEndpoint, films: list[Path], cluster: str
) -> None:
    fake.latency_s = 0.5
    job = served(tmp_path, fake, films)
    with Run(job, cluster=cluster) as run:
        assert run.wait_until(lambda: fake.paid.total() > 4), run.said()
        killed, *_ = servers(fake)
        os.kill(killed, signal.SIGKILL)
        assert run.wait_until(lambda: len(servers(fake)) == 2 and killed not in servers(fake)) or run.over
        assert run.end() == 0, run.said()
    assert none_is_left(fake)
    check(job, fake, at_risk=4 + 8)  # warm-ups, and all requests in flight


@pytest.mark.timeout(300)
def test_gpu_hours_are_on_the_bill_and_in_the_budget(
    tmp_path: Path, fake: FakeEndpoint, films: list[Path], cluster: str
) -> None:
    """A second of both GPUs costs 100 dollars; Ray counts GPUs that this machine does not have."""
    fake.latency_s = 0.5
    job = served(tmp_path, fake, films, replicas="auto", gpus=1, price_gpu_hour=180_000)
    given = yaml.safe_load(job.read_text())
    given["engine"]["max_cost"] = 150
    job.write_text(yaml.safe_dump(given))
    with Run(job, cluster=cluster) as run:
        assert run.end() == 3, run.said()
        assert "as much as engine.max_cost allows" in run.said()
    assert none_is_left(fake)
    (use,) = read_model_use(tmp_path / "out")
    assert (use.replicas, use.gpus, use.label) == (2, 1.0, f"{MODEL} on command")
    assert use.cost_usd is not None
    assert use.cost_usd == pytest.approx(100 * use.seconds)
    assert use.cost_usd > 150


@pytest.mark.storm
@pytest.mark.timeout(400)
def test_the_servers_end_when_the_driver_is_killed(
    tmp_path: Path, fake: FakeEndpoint, films: list[Path], cluster: str
) -> None:
    fake.latency_s = 2.0
    job = served(tmp_path, fake, films)
    kill_driver(job, cluster, fake)
    assert none_is_left(fake)
    finish(job, cluster, fake)


@pytest.mark.storm
@pytest.mark.timeout(300)
def test_the_same_command_at_once_after_a_kill_serves_again(
    tmp_path: Path, fake: FakeEndpoint, films: list[Path], cluster: str
) -> None:
    """While the servers of the killed run are being ended."""
    fake.latency_s = 1.0
    job = served(tmp_path, fake, films)
    kill_driver(job, cluster, fake)
    finish(job, cluster, fake)


@pytest.mark.storm
@pytest.mark.timeout(300)
def test_two_runs_that_start_at_once_share_servers_that_end_though_their_janitor_died(
    tmp_path: Path, fake: FakeEndpoint, films: list[Path], cluster: str
) -> None:
    fake.latency_s = 1.5
    jobs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        jobs.append(served(tmp_path / name, fake, films))
    seen = set[int]()

    def is_under_way() -> bool:
        seen.update(servers(fake))
        return fake.paid.total() > 6

    with Run(jobs[0], cluster=cluster) as one, Run(jobs[1], cluster=cluster) as two:
        assert one.wait_until(is_under_way), one.said()
        (janitor,) = (pid for pid, title in below(os.getpid()).items() if "ModelJanitor" in title)
        os.kill(janitor, signal.SIGKILL)
        assert (one.end(), two.end()) == (0, 0), one.said() + two.said()
    assert len(seen) == 2
    assert none_is_left(fake)


@pytest.mark.storm
@pytest.mark.timeout(400)
def test_two_runs_use_a_model_that_is_up_and_leave_it(
    tmp_path: Path, fake: FakeEndpoint, films: list[Path], cluster: str
) -> None:
    jobs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        jobs.append(served(tmp_path / name, fake, films))

    def serve_model(*options: str) -> subprocess.CompletedProcess[str]:
        words = [*LVQA, "serve-model", str(jobs[0]), *options]
        env = os.environ | {"RAY_ADDRESS": cluster}
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)

    up = serve_model("--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"Serving {MODEL} on command at http://" in up.stdout + up.stderr
    first = servers(fake)
    assert len(first) == 2
    with Run(jobs[0], cluster=cluster) as one, Run(jobs[1], cluster=cluster) as two:
        assert (one.end(), two.end()) == (0, 0), one.said() + two.said()
    assert servers(fake) == first
    ended = serve_model("--stop")
    assert (ended.returncode, "Ended: relayed on command." in ended.stdout + ended.stderr) == (0, True), ended
    assert none_is_left(fake)
    assert "None of the models ran." in serve_model("--stop").stderr + serve_model("--stop").stdout


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no such program": ({"command": ["/no/such/server", "{port}"]}, "/no/such/server cannot be started"),
    "too many cores": ({"cpus": 2, "replicas": 3}, "leaves too few for decoding"),
    "no GPU": ({"gpus": 1}, "needs 2 GPUs, and 0 GPUs of this Ray are free"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_server_that_does_not_start_is_one_sentence(
    tmp_path: Path, fake: FakeEndpoint, films: list[Path], name: str
) -> None:
    changes, says = FAULTS[name]
    with Run(served(tmp_path, fake, films, **changes)) as run:
        assert run.end() == 2, run.said()
        said = " ".join(run.said().split())
    assert says in said
    assert "Traceback" not in said
    assert fake.paid.total() == 0
    assert not list(read_rows(storage_path(str(tmp_path / "out")), "clips"))


def test_a_cluster_of_fixed_size_with_too_few_cores_is_refused(
    tmp_path: Path, fake: FakeEndpoint, films: list[Path], cluster: str
) -> None:
    """Its models would take all cores, and the decoding would wait for ever."""
    with Run(served(tmp_path, fake, films, cpus=2), cluster=cluster) as run:
        assert run.end() == 2, run.said()
        said = " ".join(run.said().split())
    assert "reserve 4 of 4 cores, which leaves too few for decoding on each of 2 nodes" in said
    assert fake.paid.total() == 0
