"""Processes without a terminal: Ray's own, its workers and the decoders must not depend on the one of the command.

A process of a terminal's background group that changes the terminal's settings or reads from it is stopped by the
kernel (SIGTTOU, SIGTTIN), and nothing says so: the run would wait for ever. Ray's workers are such processes, and so is
whatever they start. Ctrl-Z would stop half of Ray, and what any of them reads would be taken from the user's shell.
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
    """What happens in a process right after a fork of this one; registered once, since it cannot be taken back."""

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

    Ray starts its processes with `subprocess.Popen(preexec_fn=...)`, which calls the handlers of `os.register_at_fork`;
    it has no option for a session of their own. An input that is given to `Popen` replaces /dev/null.
    """
    forks = _forks()
    forks.detach = True
    try:
        yield
    finally:
        forks.detach = False


@cache
def worker_without_terminal() -> None:
    """Detach this process, once, if it is a worker of Ray: the user may have started Ray in a terminal."""
    if ray.get_runtime_context().get_task_id():  # there is none in the process of the command
        leave_terminal()


def leave_terminal() -> None:
    """Give this process /dev/null as its input and no controlling terminal; its open files stay what they are."""
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
        except PermissionError:  # it leads a process group
            pass
        else:
            return
    # Elsewhere Ray ends its processes by their process group, which a session of their own would take them out of.
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)  # fails where there is none to leave
        try:
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        finally:
            os.close(terminal)
