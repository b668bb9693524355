"""Shared fixtures: one Ray cluster per session, a fake endpoint per test, and jobs for it."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lvqa_ray.config import Job
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.engine import executors
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.middleware.cache import CacheMiddleware, RecordPaidReplies
from lvqa_ray.llm.middleware.rate_limit import RateLimitMiddleware, Replica
from lvqa_ray.llm.middleware.retry import RetryMiddleware
from lvqa_ray.llm.middleware.truncation import RetryTruncated
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.replies.cleaning import Cleaning
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.stage import Chat
from tests.fakes.endpoint import FakeEndpoint

# pytest-xdist sets the width of a terminal in its workers, and tables would be wrapped to it.
os.environ.pop("COLUMNS", None)
# Each Ray worker is a process, and would compile the package again if no bytecode may be written.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

MODEL = "fake-vlm"
EXECUTOR = os.environ.get("LVQA_TEST_EXECUTOR", "ray")
"""Executor of the storm tests, and of the runs in tests that use `ray_session`; all other tests run without Ray.
``LVQA_TEST_EXECUTOR=local pytest tests/engine tests/storm`` runs none on Ray."""
RAY_STARTS = 3
LONGEST = [
    *("engine/test_executors", "cluster/test_submit", "storage/test_buckets", "storm/", "serve/test_lvqa_serve"),
    *("engine/test_rate_limit_actor", "engine/test_local_services", "serve/test_page", "test_cli", "engine/", "serve/"),
    *("report/test_page", "report/test_hub"),
]
"""The slowest test files, which start first, so that no worker is left alone with one at the end."""
JobMaker = Callable[..., Job]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the slowest files to the front; the order is otherwise unchanged."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((at for at, name in enumerate(LONGEST) if path.startswith(name)), len(LONGEST))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hide the session's Ray from a test that does not use it: executor ``auto`` would take it if it has started."""
    with pytest.MonkeyPatch.context() as patch:
        if "ray_session" not in getattr(item, "fixturenames", ()):
            patch.setattr(executors, "_has_ray", lambda: "RAY_ADDRESS" in os.environ)
        return (yield)


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray cluster with two cores; runs in the tests use it, unless they are to run without Ray."""
    if EXECUTOR == "local":
        yield
        return
    import ray

    # Serialized between pytest-xdist workers: Ray's startup timeout is 30 s, which a busy machine may exceed.
    with (tmp_path_factory.getbasetemp().parent / "ray.lock").open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        for left in reversed(range(RAY_STARTS)):
            try:
                # "local": never connect to another cluster on this machine, or to a stale address.
                ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
                break
            except Exception:
                ray.shutdown()
                if not left:
                    raise
    yield
    ray.shutdown()


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def make_job(fake: FakeEndpoint, tmp_path: Path, request: pytest.FixtureRequest) -> JobMaker:
    """Factory of jobs for the fake endpoint, from videos and settings as nested mappings.

    A run on Ray takes several seconds longer: a test gets one only if it uses `ray_session`.
    """
    executor = EXECUTOR if "ray_session" in request.fixturenames else "local"

    def make(*videos: Path | str, output: Path | str | None = None, **settings: Any) -> Job:
        at = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None, **settings.pop("endpoint", {})}
        given = {
            "videos": [str(video) for video in videos],
            "output": str(output or tmp_path / "out"),
            "endpoints": {"vlm": at, "llm": at},
            "sample": {"count": 2, "short_side": 64},
            "engine": {"num_cpus": 2, "executor": executor, **settings.pop("engine", {})},
            "ask": {"quota": {"goal": 1}, **settings.pop("ask", {})},
            # Identical videos get identical requests; only the tests of the checks count their calls.
            "checks": {
                "duplicates": {"corpus": False},
                **{name: {"policy": "off"} for name in ("blind", "solve", "prose")},
            },
        }
        return Job.of(given | settings)

    return make


@pytest.fixture
def chat(fake: FakeEndpoint, tmp_path: Path) -> Chat:
    """The whole client stack of a stage, in this process."""
    endpoint = Endpoint(base_url=fake.base_url, model=MODEL, api_key_env=None, max_attempts=2)
    permits = LeasePool(LocalLeaseServer(Limiter(replace(Limits.of(endpoint), open_after=50))))
    key_of = partial(cache_key, endpoint)
    journal = JournalReplyStore(tmp_path / "journal", writer="test", stage="test")
    wire = RecordPaidReplies(OpenAITransport(endpoint, SecretStr("")), journal, key_of, endpoint.model)
    limited = RateLimitMiddleware(Replica(wire, permits))
    return Cleaning(
        RetryTruncated(CacheMiddleware(RetryMiddleware(limited, 2, base_s=0.01), journal, key_of), endpoint)
    )


def tables(output: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of every table of an output."""
    return {table: list(read_rows(Path(output), table)) for table in SCHEMAS}
