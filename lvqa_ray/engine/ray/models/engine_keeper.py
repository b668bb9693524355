"""Process supervisor of one model server: starts it, and kills all its processes when its parent is gone.

It runs as a script of its own and imports only the standard library. Its standard input is a pipe from the replica,
which the kernel closes when the replica ends, also by SIGKILL: the server must not go on holding a GPU then. Engines
have workers that hold the GPU, outlive a killed server (vllm-project/vllm#55510), and may be in other process groups:
on Linux this process, the keeper, inherits them as a child subreaper. Its exit status is that of the server, or 128
plus the number of the signal that ended the server.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

KILL_AFTER_S = 5.0
KEEPER_POLL_S = 0.2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def keep(argv: list[str]) -> int:
    """Run a command until it ends or standard input closes; returns its exit status."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        server = subprocess.Popen(  # noqa: S603 - the command of the job
            argv,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has one thread
        )
    except OSError as error:
        sys.stderr.write(f"{argv[0]} cannot be started: {error.strerror}\n")
        return 127
    try:
        while server.poll() is None:
            ready, _, _ = select.select([sys.stdin], [], [], KEEPER_POLL_S)
            if ready and not os.read(0, 1024):
                break
    finally:
        _stop(server)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End its process group, and then the descendants that are left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(KILL_AFTER_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    until = time.monotonic() + KILL_AFTER_S
    while (left := _descendants()) and time.monotonic() < until:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(KEEPER_POLL_S / 10)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _descendants() -> list[int]:
    """Processes below this one that have not ended; none on systems without /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.parent.name))
    found = children.get(os.getpid(), [])
    for pid in found:  # it grows
        found += children.get(pid, [])
    return found


def _die_with_parent() -> None:
    """Have the kernel kill the server if the keeper itself is killed; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(keep(sys.argv[1:]))
