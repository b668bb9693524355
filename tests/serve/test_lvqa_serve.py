"""``lvqa serve`` as a process of its own, on Ray Serve: its start, its ports, a killed replica, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx2
import yaml

from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.files import free_port
from tests.fakes.told import STORY, told
from tests.serve.conftest import job_at
from tests.serve.test_service import until
from tests.serve.vendor import WORKSPACE, Vendor

TOKEN = "planted-0123456789abcdef"  # noqa: S105 - opens nothing but a test
SENT = {"Authorization": f"Bearer {TOKEN}"}
ROUTE = f"{WORKSPACE}/quanmiao/lightapp/runVideoAnalysis"


@contextmanager
def serving(job: Path, port: int, log: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command, up; it is killed at the end if it still runs."""
    command = [str(Path(sys.executable).with_name("lvqa")), "serve", str(job), "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(command, env={**environment, "LVQA_TOKEN": TOKEN}, stdout=log, stderr=log)
    try:
        assert up(process, port, 180), Path(log.name).read_text()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def up(process: subprocess.Popen[bytes], port: int, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/healthz", timeout=5).json() == {"status": "ok"}:
                return True
        except (httpx2.HTTPError, ValueError):
            time.sleep(0.2)
    return False


def family(pid: int) -> dict[int, str]:
    """The descendants of a process, with their command lines."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = (int(fields[1]), (folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for child, (its, command) in parents.items():
            if its == parent and child not in found:
                found[child] = command
                waiting.append(child)
    return found


def listening(pids: set[int]) -> set[str]:
    """Addresses, in hex, on which processes listen."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(link.readlink()))
            except OSError:
                continue
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {fields[1].partition(":")[0] for fields in lines if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes}


def test_the_command_serves_survives_a_killed_replica_and_ends_its_streams(tmp_path: Path, films: Path) -> None:
    port, job = free_port(), tmp_path / "job.yaml"
    url = f"http://127.0.0.1:{port}"
    with FakeEndpoint(answer=told) as endpoint:
        given = job_at(endpoint, tmp_path / "out", films).model_dump(mode="json")
        job.write_text(yaml.safe_dump(given))
        with (tmp_path / "log").open("w") as log, serving(job, port, log) as process:
            loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
            assert listening({process.pid, *family(process.pid)}) <= loopback
            assert httpx2.get(f"{url}/-/routes").status_code == 401
            assert httpx2.get(f"{url}/-/routes", headers=SENT).status_code == 200
            vendor = Vendor(url, bearer_token=TOKEN)
            request: dict[str, Any] = {"video_url": str(films / "film.mp4"), "generate_options": ["videoGenerate"]}
            assert [*vendor.run(**request)][-1].payload.output.video_generate_result.text == STORY

            endpoint.latency_s = 2
            submitted = vendor.submit(**request, video_extra_info="killed")
            until(lambda: vendor.task(submitted).task_status == "RUNNING")
            (replica,) = (pid for pid, name in family(process.pid).items() if "ServeReplica" in name)
            os.kill(replica, signal.SIGKILL)
            endpoint.latency_s = 0
            end = time.monotonic() + 90
            while time.monotonic() < end:
                try:
                    found = vendor.task(submitted)
                    break
                except Exception:  # the replica is not back yet
                    time.sleep(0.5)
            assert (found.task_status, "submit it again" in found.error_message) == ("FAILED", True)
            again = [*vendor.run(**request, video_extra_info="killed")]
            assert again[-1].payload.output.video_generate_result.text == STORY

            endpoint.latency_s = 30
            body = {"videoUrl": str(films / "film.mp4"), "videoExtraInfo": "ended"}
            with httpx2.stream("POST", f"{url}/{ROUTE}", json=body, headers=SENT, timeout=60) as answer:
                events = []
                for event in httpx2.EventSource(answer):
                    events.append(json.loads(event.data)["header"])
                    if events[-1]["event"] == "task-started":
                        process.send_signal(signal.SIGTERM)
            assert (events[-1]["event"], events[-1]["errorCode"]) == ("task-failed", "Stopped")
            assert process.wait(90) == 130
