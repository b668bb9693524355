"""Which hosts a run contacts: its endpoints and this machine, and no others; seen by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import media
from tests.conftest import MODEL
from tests.fakes.endpoint import FakeEndpoint

STRACE = shutil.which("strace")
_CALL = re.compile(r'connect\(\d+, \{sa_family=AF_INET6?, .*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
ADDRESS_ONLY = {"8.8.8.8", "2001:4860:4860::8888"}
"""Ray asks the kernel which address it would use to reach these; the socket is UDP, and nothing is sent."""


def traced(place: Path, *words: str, **environment: str) -> list[str]:
    """Run a command, and give the lines of strace about its connections."""
    assert STRACE
    log = place / "trace"
    command = [STRACE, "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect", "-o", str(log), *words]
    unset = ("http_proxy", "https_proxy", "all_proxy", "RAY_USAGE_STATS_ENABLED", "ORT_DISABLE_TELEMETRY", "CI")
    known = {name: value for name, value in os.environ.items() if name not in unset and name.lower() not in unset}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=known | environment, timeout=400)
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip("strace may not trace processes here")
    assert done.returncode == 0, done.stderr[-3000:]
    return log.read_text(errors="replace").splitlines()


def others(lines: list[str]) -> set[str]:
    """The hosts contacted that are not this machine."""
    own = set(subprocess.run(["hostname", "-I"], check=False, capture_output=True, text=True).stdout.split())
    found = {match[1].removeprefix("::ffff:") for line in lines if (match := _CALL.search(line))}
    return {host for host in found if host not in own | ADDRESS_ONLY and not host.startswith("127.") and host != "::1"}


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("executor", ["ray", "local"])
def test_a_run_contacts_its_endpoints_only(tmp_path: Path, executor: str) -> None:
    film = media.make_video(tmp_path / "a.mp4", seconds=1)
    with FakeEndpoint() as fake:
        lines = traced(
            tmp_path,
            *(str(Path(sys.executable).with_name("lvqa")), "run", str(film)),
            *("--out", str(tmp_path / "out"), "--base-url", fake.base_url, "--api-key-env", ""),
            *("--vlm-model", MODEL, "--llm-model", MODEL, "--no-report", "--quiet"),
            *("--set", f"engine.executor={executor}"),
            *("--set", "engine.num_cpus=2", "--set", "ask.quota={goal: 1}", "--set", "checks.blind.policy=off"),
        )
        assert fake.paid
    assert any(f"htons({fake.base_url.rpartition(':')[2].partition('/')[0]})" in line for line in lines)
    assert others(lines) == set()


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_text_recognition_contacts_nobody(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    program = "import time; from lvqa_ray.demo.text_recognition import _engine; assert _engine(); time.sleep(4)"
    lines = traced(tmp_path, sys.executable, "-c", program, XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path))
    assert others(lines) == set()
    assert not list(tmp_path.rglob("onnxruntime*")), "nothing is stored to be sent later"
