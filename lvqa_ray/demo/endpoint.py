"""The embedded endpoint: `chat` behind a real HTTP server on this machine.

It serves ``GET /v1/models`` and ``POST /v1/chat/completions``, so that the job runs over the same client, limits and
cache as with any other endpoint. It asks for no key, and nothing that it is sent leaves the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import logging
import os
import select
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import cv2
from aiohttp import web

from lvqa_ray.demo import chat
from lvqa_ray.demo.chat import DEMO_MODEL_HELP, MODEL, BadBody
from lvqa_ray.errors import ConfigError

THREADS = 2
MAX_BODY_BYTES = 128 * 1024 * 1024
START_TIMEOUT_S = 60.0

_log = logging.getLogger(__name__)
_pool: web.AppKey[ThreadPoolExecutor] = web.AppKey("pool", ThreadPoolExecutor)


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[str], None] | None = None,
    *,
    expose: bool = False,
) -> None:
    """Serve until cancelled.

    Args:
        host: Address to listen on; one of this machine only, unless ``expose`` is set.
        port: Port, 0 for any free one.
        on_ready: Called once with the base URL, which ends in ``/v1``, when requests are taken.
        expose: Allow an address that other machines can reach.

    Raises:
        ConfigError: The address cannot be listened on, or is not this machine's own.
    """
    if not expose and not _is_loopback(host):
        raise ConfigError(f"The demo endpoint asks for no key, so it listens on this machine only and not on {host}.")
    cv2.setNumThreads(1)  # requests run side by side; OpenCV's own threads would only fight over the cores
    runner = web.AppRunner(application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"The demo endpoint cannot listen on {host}, port {port}: {error.strerror}.") from error
        bound_host, bound_port = runner.addresses[0][:2]
        if on_ready is not None:
            on_ready(f"http://{f'[{bound_host}]' if ':' in bound_host else bound_host}:{bound_port}/v1")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def application() -> web.Application:
    """The server's routes."""
    app = web.Application(middlewares=[_errors_as_json], client_max_size=MAX_BODY_BYTES)
    app.cleanup_ctx.append(_threads)
    app.add_routes(
        [
            web.get("/", _about),
            web.get("/v1/models", _models),
            web.get("/v1/models/{model}", _model),
            web.post("/v1/chat/completions", _chat),
        ]
    )
    return app


async def _threads(app: web.Application) -> AsyncIterator[None]:
    with ThreadPoolExecutor(THREADS, thread_name_prefix="chat") as pool:
        app[_pool] = pool
        yield


async def _about(_: web.Request) -> web.Response:
    return web.json_response({"model": MODEL, "about": DEMO_MODEL_HELP})


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [_MODEL_CARD]})


async def _model(request: web.Request) -> web.Response:
    name = request.match_info["model"]
    if name != MODEL:
        return _error(404, f"There is no model {name!r} here, only {MODEL!r}.", "model_not_found")
    return web.json_response(_MODEL_CARD)


async def _chat(request: web.Request) -> web.Response:
    data = await request.read()
    # In a thread, for it is CPU work: the loop goes on taking connections. Most of it is done without the GIL.
    completion = await asyncio.get_running_loop().run_in_executor(request.app[_pool], _complete, data)
    return web.json_response(completion)


def _complete(data: bytes) -> dict[str, object]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadBody("The body is not JSON.", code="invalid_json") from error
    return chat.complete(body)


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadBody as error:
        return _error(error.status, str(error), error.code)
    except web.HTTPException as error:
        return _error(
            error.status, f"{request.method} {request.path}: {error.reason}", error.reason.lower().replace(" ", "_")
        )
    except Exception:
        # Whatever it is, the client gets an answer it can read, and the log says where to look.
        _log.exception("The demo endpoint could not answer %s %s", request.method, request.path)
        return _error(500, "The demo endpoint has a fault of its own; its log says more.", "internal_error")


def _error(status: int, message: str, code: str) -> web.Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return web.json_response({"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_MODEL_CARD = {"id": MODEL, "object": "model", "created": 0, "owned_by": "lvqa-ray"}


class DemoEndpoint:
    """The endpoint in a process of its own, for as long as a ``with`` block lasts.

    A process, since its work would hold up the driver; it ends with its parent, however that ends, because it ends when
    its standard input does. Entering gives the base URL::

        with DemoEndpoint() as url:
            ...

    Args:
        host: Address of this machine to listen on.
        port: Port, 0 for any free one.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._command = [sys.executable, "-m", "lvqa_ray.demo.endpoint", "--host", host, "--port", str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        # A session of its own keeps Ctrl-C from it, so that the job can still end its last requests.
        self._process = process = subprocess.Popen(  # noqa: S603 - our own module
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None  # noqa: S101 - it was asked for
        ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
        line = process.stdout.readline() if ready else b""
        said = (
            json.loads(line) if line else {"error": f"The demo endpoint did not start within {START_TIMEOUT_S:.0f} s."}
        )
        if "url" not in said:
            self._stop()
            raise ConfigError(said["error"])
        return str(said["url"])

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int | None:
        """Id of the process while it runs."""
        return self._process.pid if self._process else None

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _main() -> None:
    """Serve for a parent: say the URL on standard output, and end when standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        asyncio.run(serve(arguments.host, arguments.port, lambda url: _say({"url": url})))
    except ConfigError as error:
        _say({"error": str(error)})
        sys.exit(2)


def _say(line: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # at once: nobody is left to read an answer


if __name__ == "__main__":
    _main()
