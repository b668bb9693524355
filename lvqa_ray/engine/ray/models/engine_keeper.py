"""Keeper of one model server: a small process that starts it, and kills its process group when its parent is gone.

It runs as a script of its own and imports only the standard library. Its standard input is a pipe from the replica,
which the kernel closes when the replica ends, also by SIGKILL: the server must not go on holding a GPU then. Its exit
status is that of the server, or 128 plus the number of the signal that ended the server.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

KILL_AFTER_S = 5.0
KEEPER_POLL_S = 0.2
PR_SET_PDEATHSIG = 1


def keep(argv: list[str]) -> int:
    """Run a command until it ends or standard input closes; returns its exit status."""
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
    """End the whole group: engines have workers of their own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(KILL_AFTER_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _die_with_parent() -> None:
    """Have the kernel kill the server if the keeper itself is killed; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(keep(sys.argv[1:]))
