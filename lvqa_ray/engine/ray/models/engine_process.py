"""One model server as a process: its start on a free port, its log, and whether it is ready."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import aiohttp

from lvqa_ray.engine.ray.models import engine_keeper
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.load_progress import loading_progress
from lvqa_ray.llm.engines.log_faults import fault_of, is_port_taken, without_secrets
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.llm.engines.server_command import server_command

HOST = "127.0.0.1"
HEALTH_POLL_S = 0.3
LOG_TAIL_BYTES = 64 * 1024
LOG_MAX_BYTES, LOG_KEPT_BYTES = 50 * 2**20, 10 * 2**20
"""Size above which a log loses its beginning, and what it keeps."""
PORT_TRIES = 3
"""Another program may take the free port before the server listens on it."""
KEEPER_ENDS_WITHIN_S = 10.0
WARM_UP_TOKENS = 8
ERROR_CHARS = 300


class EngineProcess:
    """A model server under supervision, which ends with this process.

    Args:
        served: The model.
        model_path: Local folder or file of the model, or its name on the hub.
        log_folder: Folder for the server's log; by default the system's temporary one.

    Attributes:
        base: URL of the server without path; empty before it runs.
        health: URL that answers 200 while the server works; empty before it runs.
        log_path: The server's log.
    """

    def __init__(self, served: ServedEndpoint, model_path: str, log_folder: str = "") -> None:
        self._served, self._model_path = served, model_path
        name = re.sub(r"[^\w.-]+", "-", PurePosixPath(served.model.partition("?")[0]).name)
        self.log_path = Path(log_folder or tempfile.gettempdir()) / f"lvqa-engine-{name}-{os.getpid()}.log"
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._log = os.open(self.log_path, flags, 0o600)  # for this user only: engines may log prompts
        self._keeper: subprocess.Popen[bytes] | None = None
        self.base, self.health = "", ""

    async def start(self, on_progress: Callable[[str], object]) -> None:
        """Start the server, and wait until it has answered a small request.

        Args:
            on_progress: Called with what the server is doing, from its log.

        Raises:
            ConfigError: It ended, or was not ready within ``warmup_s``; one sentence.
        """
        until = time.monotonic() + self._served.warmup_s
        for tries_left in reversed(range(PORT_TRIES)):
            self._spawn()
            try:
                await self._until_ready(until, on_progress)
            except ConfigError:
                taken = is_port_taken(self.log_tail())
                self.stop()
                if not taken or not tries_left:
                    raise
            else:
                return

    def _spawn(self) -> None:
        port = _free_port()
        command = server_command(self._served, self._model_path, HOST, port)
        os.truncate(self._log, 0)
        self._keeper = subprocess.Popen(  # noqa: S603 - our own script, with the command of the job
            [sys.executable, "-I", str(Path(engine_keeper.__file__)), *command.argv],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # killing the group of the replica must leave it time to end the server
            env={**os.environ, **command.env},
        )
        self.base = f"http://{HOST}:{port}"
        self.health = f"{self.base}{command.health}"

    async def _until_ready(self, until: float, on_progress: Callable[[str], object]) -> None:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                self.check()
                try:
                    async with session.get(self.health) as answer:
                        if answer.status == 200:
                            break
                except (aiohttp.ClientError, TimeoutError, OSError):
                    pass
                if time.monotonic() > until:
                    doing = loading_progress(self.log_tail())
                    raise ConfigError(
                        f"{self._served.label} was not ready within warmup_s = {self._served.warmup_s:g} s"
                        + (f" ({doing})" if doing else "")
                        + f": raise warmup_s, or look at its log {self.log_path}."
                    )
                on_progress(loading_progress(self.log_tail()))
                await asyncio.sleep(HEALTH_POLL_S)
            on_progress("answering a first request")
        try:
            await warm_up(self._served, f"{self.base}/v1", max(1.0, until - time.monotonic()))
        except ConfigError:
            self.check()  # if it has died, its log knows more
            raise

    def check(self) -> None:
        """Do nothing while the server runs.

        Raises:
            ConfigError: It has ended; the sentence has the reason from its log.
        """
        status = None if self._keeper is None else self._keeper.poll()
        if self._keeper is None or status is not None:
            why = fault_of(self._served.engine, self.log_tail(), status)
            raise ConfigError(f"{self._served.label} does not run: {why.rstrip('.')} (log: {self.log_path}).")
        self._shorten_log()

    def log_tail(self) -> str:
        """The end of the server's log."""
        return self._log_end(LOG_TAIL_BYTES).decode(errors="replace")

    def _log_end(self, most: int) -> bytes:
        return os.pread(self._log, most, max(0, os.fstat(self._log).st_size - most))

    def _shorten_log(self) -> None:
        """Drop the beginning of a long log; the server appends, so that it writes on at the new end."""
        if os.fstat(self._log).st_size > LOG_MAX_BYTES:
            kept = self._log_end(LOG_KEPT_BYTES)
            os.truncate(self._log, 0)
            os.write(self._log, kept)

    def stop(self) -> None:
        """End the server and its process group."""
        if self._keeper is None:
            return
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        try:
            self._keeper.wait(KEEPER_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()


async def warm_up(served: ServedEndpoint, base_url: str, within_s: float) -> None:
    """Send one small request: a server may be healthy and still refuse the model's name, or every chat.

    Args:
        served: The model.
        base_url: Where it runs, with ``/v1``.
        within_s: Longest time (s).

    Raises:
        ConfigError: There was no reply.
    """
    body: Mapping[str, Any] = {
        "model": served.model,
        "messages": [{"role": "user", "content": "Say OK."}],
        "max_tokens": WARM_UP_TOKENS,
    }
    why = f"did not answer a first request within warmup_s = {served.warmup_s:g} s."
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=within_s), trust_env=False) as session,
            session.post(f"{base_url}/chat/completions", json=body) as answer,
        ):
            text = (await answer.read()).decode(errors="replace")
            why = f"refuses a first request ({answer.status}): {_message(text)}" if answer.status >= 400 else ""
    except TimeoutError:
        pass
    except (aiohttp.ClientError, OSError) as error:
        why = f"did not answer a first request: {type(error).__name__}."
    if why:
        raise ConfigError(f"{served.label} {why}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _message(text: str) -> str:
    """The message of an error reply, shortened, without secrets."""
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    while isinstance(found, dict):
        found = found.get("error") or found.get("message") or found.get("detail") or json.dumps(found)
    return without_secrets(" ".join(str(found).split()))[:ERROR_CHARS]
