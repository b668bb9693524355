"""Detaches Ray's processes, its workers and the decoders from the terminal of the command.

The kernel silently stops a background process that reads from its terminal or changes its settings (SIGTTIN, SIGTTOU),
and the run would wait forever. Ray's workers are background processes, and so are their children. Ctrl-Z would stop
half of Ray, and a process that reads the terminal would take input from the user's shell.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import ray


class _Forks:
    """Fork handler: detaches new child processes if enabled. Registered once, since it cannot be unregistered."""

    def __init__(self) -> None:
        self.detach = False
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        if self.detach:
            leave_terminal()


@cache
def _forks() -> _Forks:
    return _Forks()


@contextmanager
def children_without_terminal() -> Iterator[None]:
    """Detach every process that is forked inside the block, before it executes its program.

    Ray starts its processes with `subprocess.Popen(preexec_fn=...)`, which calls the handlers of `os.register_at_fork`,
    and has no option to start them in a new session. An input given to `Popen` replaces /dev/null.
    """
    forks = _forks()
    forks.detach = True
    try:
        yield
    finally:
        forks.detach = False


@cache
def worker_without_terminal() -> None:
    """Detach this process, once, if it is a Ray worker: the user may have started Ray in a terminal."""
    if ray.get_runtime_context().get_task_id():  # the driver has none
        leave_terminal()


def leave_terminal() -> None:
    """Set the input of this process to /dev/null and drop its controlling terminal; other open files stay."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_RDONLY)
        if null:
            os.dup2(null, 0)
            os.close(null)
        else:
            os.set_inheritable(0, True)
    if sys.platform == "linux":
        try:
            os.setsid()
        except PermissionError:  # it is the leader of a process group
            pass
        else:
            return
    # On other systems Ray kills its processes by process group, which a new session would change.
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)  # fails if there is none
        try:
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        finally:
            os.close(terminal)
