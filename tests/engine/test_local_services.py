"""The Ray of a run on one machine: which processes it has, and that none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from ray._private import services
from ray.data import DataContext
from ray.data._internal.execution import streaming_executor as executor
from ray.data._internal.execution.operators import map_operator as maps

from lvqa_ray.engine.ray.graph import _asked_by_one_process, configure
from lvqa_ray.engine.ray.session import cluster
from lvqa_ray.engine.ray.session.local_services import (
    SETTINGS,
    blocks_forgotten,
    data_without_actors,
    node_without_services,
)
from lvqa_ray.pipeline import build
from tests.conftest import JobMaker
from tests.storm.storm import below

PROGRAM = """
import gc, sys
import pyarrow as pa
import ray
from lvqa_ray.config import Job
from lvqa_ray.engine.ray.session.cluster import ray_session_for
at = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
job = Job.of({"videos": ["x"], "output": "x", "endpoints": {"vlm": at, "llm": at}, "engine": {"num_cpus": 2}})
with ray_session_for(job):
    pool = pa.default_memory_pool
    rows = ray.data.range(3, override_num_blocks=3).map(lambda row: {"id": 2 * row["id"], "by": pool().backend_name})
    made = sorted((row["id"], row["by"]) for row in rows.take_all())
    print(made, sum(type(kept).__name__ == "BlockStats" for kept in gc.get_objects()), flush=True)
    sys.stdin.read()
"""
SERVICES = ("log_monitor", "monitor.py", "dashboard", "agent.py", "DashboardAgent", "RuntimeEnvAgent")
MADE = "[(0, 'system'), (2, 'system'), (4, 'system')]"
"""What it prints, with Arrow's allocator in the workers; the number of blocks that Ray Data remembers follows."""
ACTORS = ("StatsActor", "AutoscalingCoordinator", "ActorLocationTracker")


@pytest.mark.parametrize("killed", ["", "raylet"])
def test_there_is_no_service_that_nobody_uses_and_nothing_outlives_ray(tmp_path: Path, killed: str) -> None:
    patient = os.environ | {"RAY_raylet_start_wait_time_s": "120"}
    pipe = subprocess.PIPE
    driver = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=pipe, stdout=pipe, text=True, cwd=tmp_path, env=patient
    )
    assert driver.stdin
    assert driver.stdout
    try:
        assert driver.stdout.readline() == f"{MADE} 0\n"
        processes = below(driver.pid)
        titles = " ".join(processes.values())
        programs = [title for title in processes.values() if "raylet/raylet" not in title]  # it names what it starts
        assert not [name for name in SERVICES for title in programs if name in title], titles
        assert not [name for name in ACTORS if name in titles], titles
        for pid in [pid for pid, title in processes.items() if killed and f"/{killed}/{killed} " in title]:
            os.kill(pid, signal.SIGKILL)
    finally:
        driver.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            driver.wait(60)
        driver.kill()
        driver.wait()
    until = time.monotonic() + 30
    while left := [pid for pid in processes if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until, [processes[pid] for pid in left]
        time.sleep(0.1)


def test_a_worker_starts_with_fewer_imports_and_what_it_left_out_is_whole(tmp_path: Path) -> None:
    program = (
        PROGRAM.partition("    rows =")[0]
        + """
    def seen():
        import gc
        lazy = [name for name in ("jsonschema",) if type(sys.modules[name]).__name__ == "LazyPackage"]
        here = [path for path in sys.path if path.endswith("engine/ray/session")]
        import jsonschema, requests
        jsonschema.validate({}, {"type": "object"})
        return gc.get_threshold()[0], len(lazy), here, requests.Session().headers["Accept"]
    print(ray.get(ray.remote(seen).remote()))
"""
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert ended.stdout == "(50000, 1, [], '*/*')\n"


def test_a_release_of_ray_that_was_not_checked_starts_with_all_its_services(tmp_path: Path) -> None:
    program = PROGRAM.replace(
        "at = {", "import lvqa_ray.engine.ray.session.cluster as c; c.CHECKED_RELEASES = ()\nat = {"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert driver.stdin
    assert driver.stdout
    try:
        assert driver.stdout.readline() == f"{MADE} 3\n"
        titles = " ".join(below(driver.pid).values())
        assert all(name in titles for name in ("log_monitor", "dashboard/agent.py")), titles
    finally:
        driver.stdin.close()
        assert driver.wait(60) == 0


@pytest.mark.parametrize("checked", [True, False])
def test_a_release_of_ray_that_was_not_checked_keeps_its_own_settings_of_detectors(
    monkeypatch: pytest.MonkeyPatch, *, checked: bool
) -> None:
    made = DataContext()
    own = type(made.issue_detectors_config)
    monkeypatch.setattr(DataContext, "get_current", lambda: made)
    if not checked:
        monkeypatch.setattr(cluster, "CHECKED_RELEASES", frozenset())
    configure()
    assert made.issue_detectors_config.detectors == []
    assert isinstance(made.issue_detectors_config, own) is not checked


def test_what_is_changed_of_ray_is_as_before_after_the_block() -> None:
    def state() -> list[object]:
        patched = [services.start_ray_process, vars(executor)["create_cluster_autoscaler"], vars(maps)["to_stats"]]
        return [*patched, *map(os.environ.get, SETTINGS)]

    before = state()
    with node_without_services(), data_without_actors(), blocks_forgotten():
        inside = state()
    assert all(one != other for one, other in zip(before, inside, strict=True))
    assert state() == before


@pytest.mark.parametrize(
    ("settings", "one"),
    [
        ({}, True),
        ({"engine": {"chat_workers": 1}}, False),
        ({"ask": {"quota": {"goal": 1}, "frames": 2}}, False),  # which reads the file in between
        ({"endpoint": {"max_concurrency": 300}}, False),
    ],
)
def test_one_process_asks_unless_the_job_needs_more(
    make_job: JobMaker, settings: dict[str, dict[str, object]], one: bool
) -> None:
    job = make_job("film.mp4", **settings)
    assert (_asked_by_one_process(job, build(job)) is not None) is one
