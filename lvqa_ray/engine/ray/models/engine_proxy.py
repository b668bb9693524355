"""ASGI application of a replica: it starts one model server, and passes requests and streams on to it unchanged.

Raw ASGI and aiohttp, without a web framework. ``benchmarks/model_server.py`` measures what a request costs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import aiohttp

from lvqa_ray.engine.ray.models.engine_process import EngineProcess
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.engine_args import missing_extra
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one connection (RFC 9110, section 7.6.1), besides the host and the length, which the client sets."""
ASK_AGAIN_AFTER_S = 5
HOLD_S = 3.0
"""How long a request to a dead server waits before its 503: answers at once would draw more requests here than to
replicas that work."""
HEALTH_EVERY_S, HEALTH_WITHIN_S = 5.0, 10.0
HUNG_AFTER_S = 60.0
"""How long a server may send nothing, and not answer its health path either. Engines answer it while they generate. A
server of engine ``command`` may not: it has as long as the run waits for a reply."""
logger = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class EngineProxy:
    """The application; its life span is that of the server.

    Args:
        served: The model.
        model_path: Makes the model available on this node and returns its path; called in a thread.
        report: Receives what the server is doing while it loads.
        fail: Receives the sentence if the server does not start, or has died.
        log_folder: Folder for the server's log; by default the system's temporary one.
    """

    def __init__(
        self,
        served: ServedEndpoint,
        model_path: Callable[[Callable[[str], object]], str],
        report: Callable[[str], object],
        fail: Callable[[str], object],
        log_folder: str = "",
    ) -> None:
        self._served, self._model_path, self._log_folder = served, model_path, log_folder
        self._report, self._fail = report, fail
        self._engine: EngineProcess | None = None
        self._session: aiohttp.ClientSession | None = None
        self._heard = 0.0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle the life span, or one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._forward(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except Exception as error:
            self._fail(str(error) if isinstance(error, ConfigError) else f"{self._served.label}: {error!r}")
            logger.exception("the model server does not start")
            self.stop()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._session is not None:
            await self._session.close()
        self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        if why := missing_extra(self._served.engine):
            raise ConfigError(f"{self._served.label}: {why}")
        path = await asyncio.to_thread(self._model_path, self._report)
        self._engine = EngineProcess(self._served, path, self._log_folder)
        await self._engine.start(self._report)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)  # shorter than that of any server
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(), auto_decompress=False, trust_env=False
        )
        self._heard = time.monotonic()
        self._report("ready")

    def stop(self) -> None:
        """End the server."""
        if self._engine is not None:
            self._engine.stop()

    async def check(self) -> None:
        """Do nothing while the server works.

        Raises:
            ConfigError: It has died, or hangs; Ray Serve then replaces the replica.
        """
        if self._engine is None:
            return
        try:
            self._engine.check()
            await self._check_answers(self._engine)
        except ConfigError as error:
            self._fail(str(error))
            raise

    async def _check_answers(self, engine: EngineProcess) -> None:
        if self._session is None or time.monotonic() - self._heard < HEALTH_EVERY_S:
            return
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            timeout = aiohttp.ClientTimeout(total=HEALTH_WITHIN_S)
            async with self._session.get(engine.health, timeout=timeout) as answer:
                if answer.status == 200:
                    self._heard = time.monotonic()
        silent = time.monotonic() - self._heard
        if silent > max(HUNG_AFTER_S, self._served.timeout_s if self._served.engine == "command" else 0.0):
            raise ConfigError(
                f"{self._served.label} hangs: it has not answered for {silent:.0f} s (log: {engine.log_path})."
            )

    async def _forward(self, scope: Message, receive: Receive, send: Send) -> None:
        assert self._engine is not None  # noqa: S101 - requests come after the start
        assert self._session is not None  # noqa: S101 - as above
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        query = scope.get("query_string", b"").decode("latin-1")
        dropped = HOP_BY_HOP | {b"host", b"content-length"}
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
                   if name.lower() not in dropped]  # fmt: skip
        begun = False
        try:
            async with self._session.request(
                scope["method"],
                f"{self._engine.base}{path}{'?' if query else ''}{query}",
                data=bytes(body) or None,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                kept = [(name.lower(), value) for name, value in answer.raw_headers if name.lower() not in HOP_BY_HOP]
                await send({"type": "http.response.start", "status": answer.status, "headers": kept})
                begun = True
                self._heard = time.monotonic()
                async for chunk in answer.content.iter_any():
                    self._heard = time.monotonic()
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, OSError) as error:
            if begun:  # the client must see a stream that breaks off, not one that ends
                raise
            await self._unavailable(error, send)

    async def _unavailable(self, error: Exception, send: Send) -> None:
        """Answer 503: the run waits for the server, as for any endpoint that is down."""
        await asyncio.sleep(HOLD_S)
        message = f"{self._served.label} does not answer ({type(error).__name__}); it is being restarted."
        body = json.dumps({"error": {"message": message, "type": "server_error", "code": "engine_down"}}).encode()
        headers = [(b"content-type", b"application/json"), (b"retry-after", str(ASK_AGAIN_AFTER_S).encode())]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})
