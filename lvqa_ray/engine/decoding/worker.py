"""Decoder process: isolates the worker from crashes and hangs on hostile files.

`lvqa_ray.engine.decoding.supervisor` starts it and talks to it over a socket; it lives as long as that worker.
It receives a row with the steps to run, and sends the resulting rows one by one; a full socket blocks it.
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

from lvqa_ray.engine.step_runner import run_video_steps, video_of, with_local_path
from lvqa_ray.records import Row
from lvqa_ray.stage.steps import VideoStep


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """Request to run steps on a row.

    Attributes:
        steps: The steps in order.
        row: The row.
        path: Local file of its video, if not the URI of the row.
        ahead: Times of the frames of this row and the next ones (s), see `VideoStep.times`.
    """

    steps: Sequence[VideoStep]
    row: Row
    path: str | None = None
    ahead: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, slots=True)
class DecodeProgress:
    """Progress message: the current step, and the length of the video (s; 0 if not known yet)."""

    stage: str
    length_s: float


@dataclass(frozen=True, slots=True)
class DecodeFinished:
    """End of a row: it is complete, or it exceeded the memory limit and the process exits."""

    out_of_memory: bool = False


NICENESS = 5
"""Added niceness: decoders use all cores, and must not slow down the chat workers."""
ROW, NEWS = b"r", b"n"
"""First byte of a message: a pickled row, which the worker passes on unread, or one of the classes above."""


def main() -> None:
    """Process requests until the worker closes the socket."""
    socket, lifeline, memory_bytes = (int(argument) for argument in sys.argv[1:])
    connection = Connection(socket)
    _die_with_parent(lifeline)
    os.nice(NICENESS)
    _load()
    # Not at the top: `_load` imports it, so that it counts as start-up time.
    from lvqa_ray.video.frames.read_ahead import ReadAhead, reading_ahead  # noqa: PLC0415

    _limit_memory(memory_bytes)
    ahead = ReadAhead()
    try:
        connection.send_bytes(NEWS)
        while True:
            request: DecodeRequest = pickle.loads(connection.recv_bytes())  # noqa: S301 - from the parent process
            ahead.announce(request.path or video_of(request.row).uri, request.ahead)
            with reading_ahead(ahead):
                _run(request, connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _run(request: DecodeRequest, connection: Connection) -> None:
    sent: DecodeProgress | None = None

    def watch(stage: str, row: Row) -> None:
        nonlocal sent
        at = DecodeProgress(stage, row.info.duration_sec if hasattr(row, "info") else 0.0)
        if at != sent:
            sent = at
            connection.send_bytes(NEWS + pickle.dumps(at))

    try:
        for out in with_local_path(partial(run_video_steps, request.steps, watcher=watch), request.row, request.path):
            connection.send_bytes(ROW + pickle.dumps(out, protocol=pickle.HIGHEST_PROTOCOL))
    except MemoryError:
        connection.send_bytes(NEWS + pickle.dumps(DecodeFinished(out_of_memory=True)))
        raise SystemExit(0) from None  # the state of the libraries is unknown
    connection.send_bytes(NEWS + pickle.dumps(DecodeFinished()))


def _load() -> None:
    """Import what decoding needs, so that it counts neither as decoding time nor as memory of the first file."""
    for name in (
        "lvqa_ray.video.scenes.clip_builder",
        "lvqa_ray.video.cutting.clip_file",
        "lvqa_ray.video.frames.frame_sampling",
    ):
        importlib.import_module(name)


def _die_with_parent(lifeline: int) -> None:
    """Have the kernel kill this process when the worker is gone, even in an endless loop of a decoder.

    The worker holds the other end of a pipe that nobody writes to. When it closes, the kernel sends SIGIO, which kills
    a process without a handler for it. PR_SET_PDEATHSIG would already do so when the thread that started us ends.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _limit_memory(memory_bytes: int) -> None:
    """Set RLIMIT_DATA to twice the memory limit, and disable core files.

    The worker enforces the limit itself by polling ten times a second; the rlimit only stops a single huge allocation.
    It cannot equal the limit: decoders take a failed allocation for damage and continue without the frame. RLIMIT_AS
    would count reserved address space. Only Linux applies RLIMIT_DATA to mapped memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = 2 * memory_bytes if hard == resource.RLIM_INFINITY else min(2 * memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
