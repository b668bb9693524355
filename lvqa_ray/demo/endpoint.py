"""HTTP server of the demo endpoint on this machine.

It serves ``GET /v1/models`` and ``POST /v1/chat/completions``, so a job uses the same client, rate limits and cache as
with any other endpoint. It needs no key, and no data leaves the machine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import cv2
from aiohttp import web

from lvqa_ray.demo.chat_reply import complete
from lvqa_ray.demo.pictures import BadBody
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.endpoint import DEMO_MODEL
from lvqa_ray.llm.endpoint_url import is_loopback

THREADS = 2
MAX_BODY_BYTES = 128 * 1024 * 1024
START_TIMEOUT_S = 60.0

_log = logging.getLogger(__name__)


async def serve(host: str = "127.0.0.1", port: int = 0, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until cancelled.

    Args:
        host: Loopback address to listen on.
        port: Port, 0 for any free one.
        on_ready: Called once with the base URL, which ends in ``/v1``, when the server accepts requests.

    Raises:
        ConfigError: The port is in use, or the address is not loopback.
    """
    named = f"[{host}]" if ":" in host else host
    if not is_loopback(f"http://{named}"):
        raise ConfigError(f"The demo endpoint asks for no key, so it listens on this machine only and not on {host}.")
    # A request is CPU work, mostly without the GIL: threads keep the event loop free to accept connections.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    cv2.setNumThreads(1)  # requests already run in parallel
    app = web.Application(middlewares=[_errors_as_json], client_max_size=MAX_BODY_BYTES)
    app.add_routes([web.get("/v1/models", _models), web.post("/v1/chat/completions", _chat)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(f"The demo endpoint cannot listen on {host}, port {port}: {error.strerror}.") from error
        if on_ready is not None:
            on_ready(f"http://{named}:{runner.addresses[0][1]}/v1")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _models(_: web.Request) -> web.Response:
    card = {"id": DEMO_MODEL, "object": "model", "created": 0, "owned_by": "lvqa-ray"}
    return web.json_response({"object": "list", "data": [card]})


async def _chat(request: web.Request) -> web.Response:
    return web.json_response(await asyncio.to_thread(complete, await request.read()))


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadBody as error:
        return _error(error.status, str(error), error.code)
    except web.HTTPException as error:
        message = f"{request.method} {request.path}: {error.reason}"
        return _error(error.status, message, error.reason.lower().replace(" ", "_"))
    except Exception:
        # The client gets a JSON error, and the log has the traceback.
        _log.exception("The demo endpoint could not answer %s %s", request.method, request.path)
        return _error(500, "The demo endpoint has an internal error; its log has the details.", "internal_error")


def _error(status: int, message: str, code: str) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return web.json_response({"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status)


class DemoEndpoint:
    """Context manager that runs the endpoint in a subprocess, so that its CPU work does not slow the driver.

    ``endpoint.url`` is the base URL. The process exits when its standard input closes, so it never outlives its parent.
    """

    def __init__(self, port: int = 0) -> None:
        self.url = ""
        self._port = port

    def __enter__(self) -> Self:
        # A new session keeps Ctrl-C from it, so that the job can finish its requests in flight.
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "lvqa_ray.demo.endpoint", str(self._port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        ready, _, _ = select.select([self._process.stdout], [], [], START_TIMEOUT_S)
        line = self._process.stdout.readline() if ready else b""
        started = json.loads(
            line or json.dumps({"error": f"The demo endpoint did not start in {START_TIMEOUT_S:.0f} s."})
        )
        if "url" not in started:
            self.__exit__()
            raise ConfigError(started["error"])
        self.url = started["url"]
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=5)  # which closes its standard input
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _main() -> None:
    """Subprocess entry point: serve, write the URL to standard output, and exit when standard input closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        asyncio.run(serve(port=int(sys.argv[1]), on_ready=lambda url: print(json.dumps({"url": url}), flush=True)))  # noqa: T201
    except ConfigError as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # immediately: the parent is gone


if __name__ == "__main__":
    _main()
