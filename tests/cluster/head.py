"""A head of a Ray cluster with its dashboard, in a process group and a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

from tests.fakes.files import free_port

TOKEN = "made-up-token-of-a-test-0123456789ab"  # noqa: S105 - as it says
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
PATIENCE_S = 180.0
STARTS = 3
STAYS_S = 3.0
STARTED = "Ray runtime started"
NOT_YET = "No available agent|Connection aborted"


class Head:
    """``ray start --head`` that asks for a token, as Ray does by itself where one lies about.

    Attributes:
        address: Where jobs are submitted to.
        metrics_port: Where Prometheus would look.
    """

    def __init__(self, cpus: int = 2) -> None:
        self._cpus = cpus
        self._start()

    def _start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="lvqa-ray-"))  # short, since sockets lie in it
        self._port, self.metrics_port = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._log = (self._folder / "head.txt").open("w+")
        words = ["start", "--head", "--block", f"--port={free_port()}", f"--num-cpus={self._cpus}"]
        words += ["--include-dashboard=true"]
        words += [f"--dashboard-port={self._port}", f"--metrics-export-port={self.metrics_port}"]
        # The agent that starts jobs would take a port that the agent of any other Ray of this machine has as well.
        words += [f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}"]
        words += [f"--temp-dir={self._folder}", "--disable-usage-stats"]
        self._process = subprocess.Popen(
            [*RAY, *words], stdout=self._log, stderr=self._log, start_new_session=True, env=self.environ
        )

    @property
    def environ(self) -> Mapping[str, str]:
        """What the head and those who talk to it have to have in common; and the python that it runs jobs with."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_TMPDIR": str(self._folder), "PATH": path}
        own["RAY_metrics_report_interval_ms"] = "1000"
        own["RAY_raylet_start_wait_time_s"] = "120"  # the machine may have much else to do
        return {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | own

    def __enter__(self) -> Self:
        for _ in range(STARTS):
            if self._stays():
                return self
            said = self.said()
            self.__exit__()
            self._start()
        raise AssertionError(f"Ray does not stay up.\n{said}")

    def _stays(self) -> bool:
        """Wait for the head; whether it is still there after a while.

        On a busy machine its dashboard may end at once, or all of it after the 30 s that Ray gives itself to start.
        """
        until = time.monotonic() + PATIENCE_S
        while not (self._answers() and STARTED in self.said()):
            if self._process.poll() is not None or time.monotonic() > until:
                return False
            time.sleep(0.5)
        time.sleep(STAYS_S)
        return self._answers()

    def _answers(self) -> bool:
        with suppress(OSError, HTTPException):
            connection = HTTPConnection(self.address.removeprefix("http://"), timeout=5)
            connection.request("GET", "/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"})
            return connection.getresponse().status == 200
        return False

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._end_all()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def said(self) -> str:
        """What it has printed, and its dashboard."""
        self._log.flush()
        logs = [Path(self._log.name), *self._folder.glob("session_latest/logs/dashboard.*")]
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-3000:]}" for log in logs)

    def submit(
        self, working_dir: Path, *words: str, wait: bool = True, name: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """``ray job submit``, as it would be typed."""
        given = ["job", "submit", "--address", self.address, "--working-dir", str(working_dir)]
        given += ["--runtime-env-json", '{"env_vars": {"OPENAI_API_KEY": "made-up"}}']
        given += [] if wait else ["--no-wait"]
        given += ["--submission-id", name] if name else []
        until = time.monotonic() + PATIENCE_S
        while True:
            done = self.ray(*given, "--", "python", *words)
            # The dashboard answers a little before the agent that starts jobs is there, and drops some till then.
            if not re.search(NOT_YET, done.stderr) or time.monotonic() > until:
                return done
            time.sleep(1)

    def metrics(self) -> dict[str, float]:
        """What Prometheus would read of our own metrics: the sums of all series of a name and their labels."""
        connection = HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        connection.request("GET", "/metrics")
        found: defaultdict[str, float] = defaultdict(float)
        for line in connection.getresponse().read().decode().splitlines():
            match = re.fullmatch(r"ray_(lvqa_\w+)\{(.*)\} (\S+)", line)
            if match:
                labels = re.findall(r'(?:stage|outcome|direction)="([^"]*)"', match.group(2))
                found[" ".join([match.group(1), *labels])] += float(match.group(3))
        return dict(found)

    def ray(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of Ray's."""
        return subprocess.run(
            [*RAY, *words], capture_output=True, text=True, check=False, env=self.environ, timeout=PATIENCE_S
        )

    def _end_all(self) -> None:
        """End what Ray has put into process groups of its own; all of it names this folder."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if str(self._folder).encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
