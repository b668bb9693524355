"""Identity of a lease holder, by which others on the machine can tell a stopped process from a dead one."""

from __future__ import annotations

import os
import uuid
from functools import cache
from pathlib import Path

_STOPPED = frozenset("Tt")
"""States of a process in ``/proc`` that was stopped by a signal or by a debugger."""


def holder_name() -> str:
    """Unique name of this process: boot id, PID namespace, PID, start time and a random part.

    Without ``/proc`` only the PID and the random part are set.
    """
    return f"{_machine()}/{os.getpid()}/{_state(os.getpid())[1]}/{uuid.uuid4().hex}"


def is_stopped(holder: str) -> bool:
    """Whether a holder is a process of this machine that is stopped (SIGSTOP) and may continue.

    The endpoint still works on its requests.
    """
    machine, _, rest = holder.partition("/")
    pid, _, rest = rest.partition("/")
    if not machine or machine != _machine() or not pid.isdecimal():
        return False
    state, start = _state(int(pid))
    return state in _STOPPED and start == rest.partition("/")[0]


@cache
def _machine() -> str:
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{kernel}:{Path('/proc/self/ns/pid').readlink()}".replace("/", "_")
    except OSError:
        return ""


def _state(pid: int) -> tuple[str, str]:
    """State and start time of a process; empty if it does not exist."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""
