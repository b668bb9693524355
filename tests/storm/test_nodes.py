"""A cluster of machines that do not share the disk that a job names."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import Run, corpus, job_file

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one node, of which the next `ray.init` of this machine is not to hear."""
    folder = tempfile.mkdtemp(prefix="lvqa-ray-")  # short, since sockets lie in it
    monkeypatch.setenv("RAY_TMPDIR", folder)
    made: Any = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    yield made
    made.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def another_machine(cluster: Any, hides: Path) -> Iterator[None]:
    """A node with a name of its own, for which a folder is empty; that needs root."""
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("another machine needs the right to make one")
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={cluster.address}", "--block"]
    start += ["--num-cpus=1", f"--object-store-memory={100 * 2**20}", "--disable-usage-stats"]
    script = f'hostname without-{hides.name} && mount -t tmpfs tmpfs "{hides}" && exec "$@"'
    words = ["unshare", "-m", "-u", "bash", "-c", script, "-", *start]
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert any("Ray runtime started" in line for line in process.stdout)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.mark.storm
@pytest.mark.timeout(300)
def test_a_folder_that_a_node_does_not_see_is_said_before_anything_is_paid(tmp_path: Path, cluster: Any) -> None:
    films = corpus(tmp_path / "films", 2)
    (tmp_path / "out").mkdir()
    for hides, what in (("films", "the video"), ("out", "the output folder")):
        with (
            FakeEndpoint() as fake,
            another_machine(cluster, tmp_path / hides),
            Run(job_file(tmp_path, fake, films, engine={"executor": "ray"}), cluster=cluster.address) as run,
        ):
            assert (run.end(), fake.paid.total()) == (2, 0), run.said()
            assert re.search(rf"{what} \S+ is not on without-{hides}, a node of the cluster", run.said())
