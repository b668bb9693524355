"""One replica without Ray: its server process, and what passes through its proxy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.engine.ray.models import engine_keeper, engine_proxy
from lvqa_ray.engine.ray.models.engine_proxy import EngineProxy
from lvqa_ray.engine.ray.models.serve_address import free_port
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.relay import SCRIPT

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "What happens?"}]}).encode()
STREAMED = json.dumps({**json.loads(BODY), "stream": True}).encode()


class Replica:
    """The application and what it has reported."""

    def __init__(self, command: list[str], **settings: Any) -> None:
        given = {"engine": "command", "model": "m", "command": command, "warmup_s": 30} | settings
        self.progress: list[str] = []
        self.faults: list[str] = []
        self.proxy = EngineProxy(
            ServedEndpoint.model_validate(given), lambda _: "m", self.progress.append, self.faults.append
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run it; gives the type of the message that its start has sent."""
        said: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        events: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        life = asyncio.create_task(self.proxy({"type": "lifespan"}, events.get, said.put))
        await events.put({"type": "lifespan.startup"})
        yield str((await said.get())["type"])
        await events.put({"type": "lifespan.shutdown"})
        await life

    async def ask(self, body: bytes = BODY, path: str = "/v1/chat/completions") -> list[MutableMapping[str, Any]]:
        """The messages of a reply."""
        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/app{path}",
            "root_path": "/app",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"host", b"elsewhere")],
        }
        halves = [body[:10], body[10:]]

        async def receive() -> MutableMapping[str, Any]:
            part = halves.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(halves)}

        sent: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.proxy(scope, receive, send)
        return sent


def relay(fake: FakeEndpoint) -> list[str]:
    return [sys.executable, SCRIPT, "{port}", fake.base_url.removesuffix("/v1").rpartition(":")[2]]


def test_replies_and_streams_pass_unchanged(fake: FakeEndpoint) -> None:
    replica = Replica(relay(fake))
    fake.stream_pause_s = 0.01

    async def ask() -> None:
        async with replica.running() as started:
            assert started == "lifespan.startup.complete", replica.faults
            start, *parts = await replica.ask()
            assert start["status"] == 200
            assert json.loads(b"".join(part["body"] for part in parts))["choices"]
            start, *parts = await replica.ask(STREAMED)
            assert dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
            assert len(parts) > 3, "the stream was collected"
            assert b"".join(part["body"] for part in parts).rstrip().endswith(b"data: [DONE]")

    asyncio.run(ask())
    assert replica.progress[-1] == "ready"


def test_a_rate_limit_passes_with_its_header() -> None:
    async def ask(replica: Replica) -> None:
        async with replica.running() as started:  # its first request is the only one that the limit allows
            assert started == "lifespan.startup.complete", replica.faults
            start, *parts = await replica.ask()
            assert start["status"] == 429
            assert b"retry-after" in dict(start["headers"])
            assert "error" in json.loads(b"".join(part["body"] for part in parts))

    with FakeEndpoint(rpm=1) as limited:
        asyncio.run(ask(Replica(relay(limited))))


def test_a_dead_server_is_503_and_a_fault(fake: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_proxy, "HOLD_S", 0.0)
    replica = Replica(relay(fake))

    async def ask() -> None:
        async with replica.running():
            os.kill(server_of(fake), signal.SIGKILL)
            start, body = await replica.ask()
            assert start["status"] == 503
            assert dict(start["headers"])[b"retry-after"]
            assert json.loads(body["body"])["error"]["code"] == "engine_down"
            with pytest.raises(ConfigError, match="does not run"):
                await check_until_it_fails(replica.proxy)

    asyncio.run(ask())
    assert replica.faults


def test_a_server_that_hangs_is_replaced(fake: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, and sends nothing: neither to a request nor to its health path."""
    monkeypatch.setattr(engine_proxy, "HEALTH_EVERY_S", 0.0)
    monkeypatch.setattr(engine_proxy, "HEALTH_WITHIN_S", 0.5)
    monkeypatch.setattr(engine_proxy, "HUNG_AFTER_S", 5.0)
    replica = Replica(relay(fake), timeout_s=5)

    async def ask() -> None:
        async with replica.running() as started:
            assert started == "lifespan.startup.complete", replica.faults
            await replica.proxy.check()
            os.kill(server_of(fake), signal.SIGSTOP)
            await replica.proxy.check()  # once is not enough
            with pytest.raises(ConfigError, match="hangs: it has not answered for"):
                await check_until_it_fails(replica.proxy)

    asyncio.run(ask())
    assert "m on command hangs" in replica.faults[0]
    assert not server_of(fake)


@pytest.mark.parametrize(
    ("command", "settings", "says"),
    [
        (["/no/such/server", "{port}"], {}, "/no/such/server cannot be started: No such file"),
        ([sys.executable, "-c", "raise ValueError('no model {port}')"], {}, "ValueError: no model"),
        ([sys.executable, SCRIPT, "{port}", "1", "60"], {"warmup_s": 1}, "not ready within warmup_s = 1 s"),
    ],
    ids=["no program", "ends at once", "never ready"],
)
def test_a_server_that_does_not_start_is_a_sentence(command: list[str], settings: dict[str, Any], says: str) -> None:
    replica = Replica(command, **settings)
    replies: list[str] = []

    async def ask() -> None:
        async with replica.running() as started:
            replies.append(started)

    # A failed start ends the life of the application, so that the shutdown is never read.
    asyncio.run(asyncio.wait_for(ask(), 60))
    assert replies == ["lifespan.startup.failed"]
    assert says in replica.faults[0]
    assert "\n" not in replica.faults[0]


def test_a_refused_first_request_is_a_sentence(fake: FakeEndpoint) -> None:
    fake.models = ("other",)
    replica = Replica(relay(fake))

    async def ask() -> None:
        async with replica.running() as started:
            assert started == "lifespan.startup.failed"

    asyncio.run(ask())
    assert "refuses a first request (404)" in replica.faults[0]


def test_a_server_ends_with_a_killed_replica(fake: FakeEndpoint) -> None:
    """The keeper's input is a pipe from the replica, which the kernel closes."""
    ours, theirs = os.pipe()
    words = [
        sys.executable,
        "-I",
        engine_keeper.__file__,
        *(word.format(port=free_port("127.0.0.1", 0)[0]) for word in relay(fake)),
    ]
    pid = os.posix_spawn(
        words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, ours, 0), (os.POSIX_SPAWN_CLOSE, theirs)]
    )
    os.close(ours)
    until = time.monotonic() + 30
    while not (server := server_of(fake)) and time.monotonic() < until:
        time.sleep(0.05)
    assert server
    os.close(theirs)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGTERM
    assert not server_of(fake)


async def check_until_it_fails(proxy: EngineProxy) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        await proxy.check()
        await asyncio.sleep(0.05)


def server_of(fake: FakeEndpoint) -> int:
    """Process of the server that relays to a fake endpoint; 0 for none."""
    port = relay(fake)[-1]
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")[:-1]
        except (OSError, UnicodeDecodeError):
            continue
        if words[1:2] == [SCRIPT] and words[3:4] == [port]:
            return int(process.name)
    return 0
