"""Decoding under a bound of time and memory, in a child process whose death is a failure of the row and no more.

A worker keeps its child from row to row, because starting one takes about a second. The child's rows come pickled and
are handed on as they are, so that a row costs a copy through a socket. The other end is
`lvqa_ray.engine.decoding.worker`.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lvqa_ray.engine.decoding.worker import NEWS, ROW, DecodeFinished, DecodeProgress, DecodeRequest
from lvqa_ray.engine.row_codec import COLUMN, Packed, pack
from lvqa_ray.engine.secrets import decoder_environment
from lvqa_ray.engine.step_runner import failed, video_of
from lvqa_ray.errors import VideoFault
from lvqa_ray.records import Failure, redact_url
from lvqa_ray.stage.steps import VideoStep

if TYPE_CHECKING:  # it knows every stage, and with them the video libraries
    from lvqa_ray.config import Engine

START_WITHIN_S = 120.0
LOOK_EVERY_S = 0.1
HANG_UP_S = 5.0
RUN = "from lvqa_ray.engine.decoding.worker import main; main()"
"""Not ``-m``: what the child sends would then be of ``__main__``."""
UNKNOWN_LENGTH_S = 60.0
"""What a video counts as while it is probed."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What decoding may take.

    Attributes:
        stall_timeout_s: Longest time in which a row neither comes nor a byte is read or written.
        slowest: Longest time that a row may take in all, as a multiple of its video's length; ``still_s`` comes on top.
        memory_bytes: Most memory of the process that decodes.
    """

    stall_timeout_s: float
    slowest: float
    memory_bytes: int

    @classmethod
    def of(cls, engine: Engine) -> Self:
        """What the settings of a job say."""
        return cls(engine.decode_still_s, engine.decode_slowest, round(engine.decode_memory_gb * 2**30))


@cache
def decoder(bounds: DecodeLimits) -> DecodeProcess:
    """The one decoder of this process."""
    return DecodeProcess(bounds)


class DecodeProcess:
    """Puts rows through steps in a child process, which is started when it is needed and again when it has died."""

    def __init__(self, bounds: DecodeLimits) -> None:
        self._bounds = bounds
        self._child: _Child | None = None
        self._busy: _Child | None = None
        self._interrupted = False

    def __call__(self, steps: Sequence[VideoStep], row: Any, path: str | None = None) -> Generator[Packed, None, None]:  # noqa: ANN401
        """The rows that the steps make of a row, as they come; at a breach or a crash the last one is the failure.

        Args:
            steps: The steps in order.
            row: Any of the frozen rows.
            path: Where its video is on this node, if not where the row says.
        """
        if not any(isinstance(row, step.takes) for step in steps):
            yield pack(row)
            return
        self._interrupted = False
        child = self._child or _Child(self._bounds.memory_bytes)
        self._child = None  # unless all goes well, it is not used again
        self._busy = child
        if self._interrupted:  # while the child was starting
            child.kill()
        try:
            yield from self._rows(child, DecodeRequest(steps, row, path))
        except BaseException:
            child.end()
            raise
        finally:
            self._busy = None
        # Only now: an interruption sets its flag before it kills the busy child, which may have finished meanwhile.
        if child.alive and not self._interrupted:
            self._child = child
        else:
            child.end()

    def close(self) -> None:
        """End the child."""
        if self._child:
            self._child.end()
            self._child = None

    def interrupt(self) -> None:
        """From another thread: let what is under way end at once, as if the child had been killed from outside."""
        self._interrupted = True
        if busy := self._busy:
            busy.kill()

    @property
    def pid(self) -> int | None:
        """The idle child's process id."""
        return self._child.pid if self._child else None

    def _rows(self, child: _Child, order: DecodeRequest) -> Iterator[Packed]:
        steps, row = order.steps, order.row
        at = DecodeProgress(next(step.name for step in steps if isinstance(row, step.takes)), 0.0)
        watch = _Watch(self._bounds, child.pid)
        child.send(pickle.dumps(order))
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
            news = pickle.loads(message[1:])  # noqa: S301 - from the child that we started
            if isinstance(news, DecodeProgress):
                at = news
                watch.length_s = max(watch.length_s, at.length_s)
            elif isinstance(news, DecodeFinished):
                if news.out_of_memory:
                    child.end()
                    yield pack(_failure(row, at.stage, VideoFault.DECODER_MEMORY, _too_large(self._bounds)))
                return


class _Watch:
    """Watches one row: its time and memory. Only waiting for the child counts."""

    def __init__(self, bounds: DecodeLimits, pid: int) -> None:
        self.length_s = 0.0
        self._bounds = bounds
        self._pid = pid
        self._waited_s = 0.0
        self._moved = -1

    def wait(self, child: _Child) -> tuple[VideoFault, str] | None:
        """Wait for a message or the end of the child; gives what is wrong if it takes too much."""
        bounds = self._bounds
        before = seen = time.monotonic()
        while True:
            ready = child.poll(LOOK_EVERY_S)
            now = time.monotonic()
            self._waited_s += now - before
            before = now
            allowed = bounds.stall_timeout_s + bounds.slowest * (self.length_s or UNKNOWN_LENGTH_S)
            if self._waited_s > allowed:
                why = f"takes more than {allowed:.0f} s (engine.decode_slowest); re-encode it or leave it out."
                return VideoFault.DECODER_TIMEOUT, why
            if peak_memory(self._pid) > bounds.memory_bytes:  # the peak: a burst between two looks shows as well
                return VideoFault.DECODER_MEMORY, _too_large(bounds)
            if ready:
                return None
            moved = _bytes_moved(self._pid)
            if moved != self._moved:
                self._moved, seen = moved, now
            if now - seen > bounds.stall_timeout_s:
                limit = f"{bounds.stall_timeout_s:g} s (engine.decode_still_s)"
                why = f"stood still for {limit}; re-encode it or leave it out."
                return VideoFault.DECODER_TIMEOUT, why


def _too_large(bounds: DecodeLimits) -> str:
    size = f"{bounds.memory_bytes / 2**30:.2g} GB"
    return f"needs more memory than {size} (engine.decode_memory_gb); scale it down or leave it out."


class _Child:
    """The child process, ready to work."""

    def __init__(self, memory_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        # Pools of threads that wait for work that never comes would count as memory, by the core.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = os.pathsep.join(entry or "." for entry in sys.path)
        self._process = subprocess.Popen(  # noqa: S603 - this very package
            [sys.executable, "-c", RUN, str(theirs.fileno()), str(lifeline), str(memory_bytes)],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), lifeline),
            env={**decoder_environment(), **threads, "PYTHONPATH": path},
            start_new_session=True,  # neither Ctrl-C nor the terminal's job control is meant for it
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
        with suppress(OSError):  # it has died; reading says so too
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
        """Kill the child; who waits for it finds it dead."""
        self._process.kill()

    def end(self) -> int:
        """End the child if it lives, and say with which status it ended: below 0 the signal's number."""
        if self.alive:
            self.alive = False
            self._status = self._ended()
            self._connection.close()
            os.close(self._lifeline)
        return self._status

    def _ended(self) -> int:
        try:  # a child that has let go of its end is about to be gone by itself, and how is what we want to know
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
    """How many bytes a process has read and written so far; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines[:2])  # rchar and wchar: also what came out of a cache


def peak_memory(pid: int) -> int:
    """The most memory that a process has had (bytes); 0 where the system does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def _crash(row: Any, stage: str, status: int) -> Any:  # noqa: ANN401 - any of the frozen rows
    if -status in {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
        # Nothing in a decoder kills its own process: it was the system, or a person.
        why = "was killed from outside, mostly for a lack of memory on the node; run the job again."
        return _failure(row, stage, VideoFault.DECODER_CRASHED, why, retryable=True)
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return _failure(row, stage, VideoFault.DECODER_CRASHED, f"crashes the decoder ({how}); re-encode it.")


def _failure(row: Any, stage: str, kind: VideoFault, why: str, *, retryable: bool = False) -> Any:  # noqa: ANN401
    video = video_of(row)
    message = f"Decoding {redact_url(video.uri)} {why}"
    return failed(row, Failure(video=video, stage=stage, kind=str(kind), message=message, retryable=retryable))
