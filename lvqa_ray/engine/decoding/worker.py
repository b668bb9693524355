"""The process that decodes for a worker: what a hostile file does to it, it does to nobody else.

Started by `lvqa_ray.engine.decoding.supervisor`, talks to it over a socket, and lives as long as that worker.
It takes a row with the steps to put it through, and gives the rows that they make of it one by one; a socket that is
full holds it back.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import pickle
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from lvqa_ray.stage.steps import VideoStep


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """What the child is to do: put a row through steps, with its video at a path of this node if one is given."""

    steps: Sequence[VideoStep]
    row: Any
    path: str | None = None


@dataclass(frozen=True, slots=True)
class DecodeProgress:
    """Which step the child is working in, and how long its video is (s; 0 if that is not known yet)."""

    stage: str
    length_s: float


@dataclass(frozen=True, slots=True)
class DecodeFinished:
    """The row is done with, or has met the bound of memory and the child dies."""

    out_of_memory: bool = False


GIVES_WAY = 5
"""How much nicer than the other processes: decoders take all cores there are, and answers are not to wait for that."""
ROW, NEWS = b"r", b"n"
"""First byte of a message: a pickled row, which the worker hands on unread, or one of the above."""


def main() -> None:
    """Take orders until the worker is gone."""
    socket, lifeline, memory_bytes = (int(argument) for argument in sys.argv[1:])
    connection = Connection(socket)
    _die_with_parent(lifeline)
    os.nice(GIVES_WAY)
    _load()
    _bound(memory_bytes)
    try:
        connection.send_bytes(NEWS)
        while True:
            order: DecodeRequest = pickle.loads(connection.recv_bytes())  # noqa: S301 - from the worker that started us
            _obey(order, connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _obey(order: DecodeRequest, connection: Connection) -> None:
    # Not at the top: what this needs is loaded where loading it counts as starting up.
    from lvqa_ray.engine.step_runner import run_video_steps, with_local_path  # noqa: PLC0415

    said: DecodeProgress | None = None

    def say(stage: str, row: Any) -> None:  # noqa: ANN401 - any of the frozen rows
        nonlocal said
        at = DecodeProgress(stage, row.info.duration_sec if hasattr(row, "info") else 0.0)
        if at != said:
            said = at
            connection.send_bytes(NEWS + pickle.dumps(at))

    try:
        for out in with_local_path(partial(run_video_steps, order.steps, watcher=say), order.row, order.path):
            connection.send_bytes(ROW + pickle.dumps(out, protocol=pickle.HIGHEST_PROTOCOL))
    except MemoryError:
        connection.send_bytes(NEWS + pickle.dumps(DecodeFinished(out_of_memory=True)))
        raise SystemExit(0) from None  # who knows what it has left behind
    connection.send_bytes(NEWS + pickle.dumps(DecodeFinished()))


def _load() -> None:
    """Import what decoding needs, so that it counts neither as decoding time nor as memory of the file's."""
    for name in (
        "lvqa_ray.engine.step_runner",
        "lvqa_ray.video.scenes.clip_builder",
        "lvqa_ray.video.cutting.clip_file",
        "lvqa_ray.video.frames.frame_sampling",
    ):
        importlib.import_module(name)


def _die_with_parent(lifeline: int) -> None:
    """Have the kernel end this process when the worker is gone, also in the middle of a decoder's endless loop.

    The worker holds the other end of a pipe that nobody writes to. When that closes, the kernel sends SIGIO, which ends
    a process that does not handle it. (PR_SET_PDEATHSIG would do so whenever the thread that started us ends.)
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _bound(memory_bytes: int) -> None:
    """Refuse memory far beyond the bound, which the worker keeps; a crash leaves no core file.

    The worker looks ten times a second, so that this stops only what is asked for at once. It cannot be the bound
    itself: decoders take a refusal for damage and go on without the frame. Not RLIMIT_AS, which counts address space
    that is only reserved. Linux alone heeds RLIMIT_DATA for mapped memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = 2 * memory_bytes if hard == resource.RLIM_INFINITY else min(2 * memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
