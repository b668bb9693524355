"""One service for a module of tests, in front of a real endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from tests import media
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import told
from tests.report import conftest as of_report
from tests.serve.service import Service
from tests.spoken import srt

chromium = of_report.chromium
MODELS = ("qwen-vl-max", "qwen-max")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(answer=told) as fake:
        yield fake


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose films a request may name: one of 3 s with something said in it."""
    folder = tmp_path_factory.mktemp("films")
    media.make_video(folder / "film.mp4", seconds=3, fps=5)
    (folder / "film.srt").write_text(srt([(500, 1500, "Who is there?"), (2000, 2500, "A block.")]), encoding="utf-8")
    return folder


def job_at(endpoint: FakeEndpoint, output: Path, films: Path, **serve: Any) -> Job:
    """The job of a service."""
    vlm, llm = ({"base_url": endpoint.base_url, "model": model, "api_key_env": None} for model in MODELS)
    given = {
        "videos": ["x"],
        "output": str(output),
        "endpoints": {"vlm": vlm, "llm": llm},
        "sample": {"count": 2, "short_side": 64},
        "split": {"max_seconds": 1},
        "engine": {"num_cpus": 2, "scratch_dir": str(output / "scratch")},
        "serve": {"allow": [str(films)], "at_once": 20, **serve},
    }
    return Job.of(given)


@pytest.fixture(scope="module")
def service(endpoint: FakeEndpoint, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(job_at(endpoint, tmp_path_factory.mktemp("served"), films)) as served:
        yield served


@pytest.fixture(autouse=True)
def _prompt(endpoint: FakeEndpoint) -> None:
    """Each test finds the endpoint as it was."""
    endpoint.latency_s, endpoint.hold, endpoint.answer = 0.0, None, told
