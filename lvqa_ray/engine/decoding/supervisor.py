"""Supervisor of the decoder process: limits its time and memory, and turns its death into a failure of one row.

A worker keeps its child process from row to row, because starting one takes about a second. The rows of the child
arrive pickled and are passed on unread, so a row costs one copy through a socket. The other end is
`lvqa_ray.engine.decoding.worker`.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lvqa_ray.engine.decoding.worker import NEWS, ROW, DecodeFinished, DecodeProgress, DecodeRequest
from lvqa_ray.engine.row_codec import COLUMN, Packed, pack
from lvqa_ray.engine.secrets import decoder_environment
from lvqa_ray.engine.step_runner import failed, video_of
from lvqa_ray.errors import VideoFault
from lvqa_ray.records import Failure, Row, redact_url
from lvqa_ray.stage.steps import VideoStep

if TYPE_CHECKING:  # it imports every stage, and with them the video libraries
    from lvqa_ray.config import Engine

START_WITHIN_S = 120.0
DECODER_POLL_S = 0.1
HANG_UP_S = 5.0
RUN_WORKER = "from lvqa_ray.engine.decoding.worker import main; main()"
"""Not ``-m``: the classes that the child pickles would then belong to ``__main__``."""
UNKNOWN_LENGTH_S = 60.0
"""Assumed length of a video until it is probed (s)."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits of decoding.

    Attributes:
        stall_timeout_s: Maximum time without a resulting row and without a byte read or written (s).
        slowest: Maximum total time of a row, as a multiple of the length of its video, plus ``stall_timeout_s``.
        memory_bytes: Maximum memory of the decoder process.
    """

    stall_timeout_s: float
    slowest: float
    memory_bytes: int

    @classmethod
    def of(cls, engine: Engine) -> Self:
        """The limits in the settings of a job."""
        return cls(engine.decode_still_s, engine.decode_slowest, round(engine.decode_memory_gb * 2**30))


@cache
def decoder(bounds: DecodeLimits) -> DecodeProcess:
    """The one decoder of this process."""
    return DecodeProcess(bounds)


class DecodeProcess:
    """Runs steps on rows in a child process, which is started on demand and after it has died."""

    def __init__(self, bounds: DecodeLimits) -> None:
        self._bounds = bounds
        self._child: _Child | None = None
        self._busy: _Child | None = None
        self._interrupted = False
        self._starting = threading.Lock()

    def start(self) -> None:
        """Start the child before the first row needs it; without a child, that row tries again and reports why."""
        with self._starting, suppress(OSError, RuntimeError):
            self._child = self._child or _Child(self._bounds.memory_bytes)

    def __call__(
        self,
        steps: Sequence[VideoStep],
        row: Row,
        path: str | None = None,
        ahead: Sequence[Sequence[float]] = (),
    ) -> Generator[Packed, None, None]:
        """Run steps on a row; yields the resulting rows as they come; after a timeout or crash the last is a failure.

        Args:
            steps: The steps in order.
            row: The row.
            path: Local file of its video, if not the URI of the row.
            ahead: Times of the frames of this row and the next ones (s), see `times_ahead`.
        """
        if not any(isinstance(row, step.takes) for step in steps):
            yield pack(row)
            return
        with self._starting:
            child = self._child or _Child(self._bounds.memory_bytes)
            self._child = None  # reused only after success
        self._busy = child
        if self._interrupted:  # while the child was starting
            child.kill()
        try:
            yield from self._rows(child, DecodeRequest(steps, row, path, ahead))
        except BaseException:
            child.end()
            raise
        finally:
            self._busy = None
        # Checked last: `interrupt` sets its flag before it kills the busy child, which may have finished meanwhile.
        if child.alive and not self._interrupted:
            self._child = child
        else:
            child.end()

    def close(self) -> None:
        """End the child."""
        with self._starting:
            if self._child:
                self._child.end()
                self._child = None

    def rearm(self) -> None:
        """Clear an interrupt before the next call.

        Only the thread that may interrupt the call does this, so no interrupt is lost.
        """
        self._interrupted = False

    def interrupt(self) -> None:
        """Kill the busy child, from another thread; its row ends as if it had been killed from outside.

        Between `rearm` and the end of the call, it is effective at any time, also before the call has begun.
        """
        self._interrupted = True
        if busy := self._busy:
            busy.kill()

    @property
    def pid(self) -> int | None:
        """The idle child's process id."""
        return self._child.pid if self._child else None

    def _rows(self, child: _Child, request: DecodeRequest) -> Iterator[Packed]:
        steps, row = request.steps, request.row
        at = DecodeProgress(next(step.name for step in steps if isinstance(row, step.takes)), 0.0)
        watch = _Watch(self._bounds, child.pid)
        child.send(pickle.dumps(request))
        while True:
            if breach := watch.wait(child):
                child.end()
                yield pack(_failure(row, at.stage, *breach))
                return
            message = child.receive()
            if message is None:
                yield pack(_crash(row, at.stage, child.end()))
                return
            if message[:1] == ROW:
                yield {COLUMN: message[1:]}
                continue
            status = pickle.loads(message[1:])  # noqa: S301 - from our own child process
            if isinstance(status, DecodeProgress):
                at = status
                watch.length_s = max(watch.length_s, at.length_s)
            elif isinstance(status, DecodeFinished):
                if status.out_of_memory:
                    child.end()
                    yield pack(_failure(row, at.stage, VideoFault.DECODER_MEMORY, _too_large(self._bounds)))
                return


class _Watch:
    """Watchdog of time and memory for one row; only time spent waiting for the child counts."""

    def __init__(self, bounds: DecodeLimits, pid: int) -> None:
        self.length_s = 0.0
        self._bounds = bounds
        self._pid = pid
        self._waited_s = 0.0
        self._moved = -1

    def wait(self, child: _Child) -> tuple[VideoFault, str] | None:
        """Wait for a message or the end of the child; returns the fault if it exceeds a limit."""
        bounds = self._bounds
        before = seen = time.monotonic()
        while True:
            ready = child.poll(DECODER_POLL_S)
            now = time.monotonic()
            self._waited_s += now - before
            before = now
            allowed = bounds.stall_timeout_s + bounds.slowest * (self.length_s or UNKNOWN_LENGTH_S)
            if self._waited_s > allowed:
                why = f"takes more than {allowed:.0f} s (engine.decode_slowest); re-encode it or leave it out."
                return VideoFault.DECODER_TIMEOUT, why
            if peak_memory(self._pid) > bounds.memory_bytes:  # the peak includes bursts between two polls
                return VideoFault.DECODER_MEMORY, _too_large(bounds)
            if ready:
                return None
            moved = _bytes_moved(self._pid)
            if moved != self._moved:
                self._moved, seen = moved, now
            if now - seen > bounds.stall_timeout_s:
                limit = f"{bounds.stall_timeout_s:g} s (engine.decode_still_s)"
                why = f"made no progress for {limit}; re-encode it or leave it out."
                return VideoFault.DECODER_TIMEOUT, why


def _too_large(bounds: DecodeLimits) -> str:
    size = f"{bounds.memory_bytes / 2**30:.2g} GB"
    return f"needs more memory than {size} (engine.decode_memory_gb); scale it down or leave it out."


class _Child:
    """A started child process."""

    def __init__(self, memory_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        # Idle thread pools would count as memory, per core.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = os.pathsep.join(entry or "." for entry in sys.path)
        self._process = subprocess.Popen(  # noqa: S603 - this package
            [sys.executable, "-c", RUN_WORKER, str(theirs.fileno()), str(lifeline), str(memory_bytes)],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), lifeline),
            env={**decoder_environment(), **threads, "PYTHONPATH": path},
            start_new_session=True,  # no Ctrl-C and no job control of the terminal
        )
        theirs.close()
        os.close(lifeline)
        self._connection = Connection(ours.detach())
        self.alive = True
        if not self.poll(START_WITHIN_S) or self.receive() != NEWS:
            status = self.end()
            raise RuntimeError(f"the process that decodes did not start (status {status})")

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: bytes) -> None:
        with suppress(OSError):  # it has died; `receive` reports it
            self._connection.send_bytes(message)

    def poll(self, seconds: float) -> bool:
        return self._connection.poll(seconds)

    def receive(self) -> bytes | None:
        """The next message; ``None`` if the child has died."""
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def kill(self) -> None:
        """Kill the child; a thread that waits for it sees it die."""
        self._process.kill()

    def end(self) -> int:
        """End the child if it lives; returns its exit status, or the negative signal number."""
        if self.alive:
            self.alive = False
            self._status = self._ended()
            self._connection.close()
            os.close(self._lifeline)
        return self._status

    def _ended(self) -> int:
        try:  # a child that closed its socket is about to exit, and its status is wanted
            return self._process.wait(timeout=HANG_UP_S if self._hung_up() else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _hung_up(self) -> bool:
        try:
            return self.poll(0) and not self._connection.recv_bytes()
        except (EOFError, OSError):
            return True


def _bytes_moved(pid: int) -> int:
    """Bytes that a process has read and written so far; 0 if unknown."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines[:2])  # rchar and wchar, which include cached reads


def peak_memory(pid: int) -> int:
    """Peak memory of a process (bytes); 0 if unknown."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def _crash(row: Row, stage: str, status: int) -> Row:
    if -status in {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
        # A decoder sends itself none of these: the system or a person did.
        why = "was killed from outside, usually because the node ran out of memory; run the job again."
        return _failure(row, stage, VideoFault.DECODER_CRASHED, why, retryable=True)
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return _failure(row, stage, VideoFault.DECODER_CRASHED, f"crashes the decoder ({how}); re-encode it.")


def _failure(row: Row, stage: str, kind: VideoFault, why: str, *, retryable: bool = False) -> Row:
    video = video_of(row)
    message = f"Decoding {redact_url(video.uri)} {why}"
    return failed(row, Failure(video=video, stage=stage, kind=str(kind), message=message, retryable=retryable))
