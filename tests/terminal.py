"""An interactive shell on a terminal of its own: what is typed, what is shown, and which processes live."""

from __future__ import annotations

import os
import pty
import re
import signal
import sys
import termios
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PROMPT = "ready> "
MARK = "PYTHONMARKOFTEST"
"""A variable that every process of a shell inherits, the decoders too."""


class Shell:
    """`bash -i` whose controlling terminal is a new pty, with an `ffmpeg` on PATH that changes its terminal's settings.

    Args:
        folder: Where to work; also for the programs that are put on PATH.
        environment: More variables.
        command: What to start instead of bash.
    """

    def __init__(self, folder: Path, *, command: tuple[str, ...] = (), **environment: str) -> None:
        programs = folder / "programs"
        programs.mkdir(exist_ok=True)
        self.probed = folder / "ffmpeg.called"
        script(programs / "ffmpeg", f"echo called >> '{self.probed}'\nexec stty -echo")
        script(programs / "lvqa", f"""exec '{sys.executable}' -c 'from lvqa_ray.cli import main; main()' "$@" """)
        self.mark = uuid.uuid4().hex
        kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        env = kept | {"TERM": "xterm", "PS1": PROMPT, "HISTFILE": "", MARK: self.mark} | environment
        env["PATH"] = f"{programs}:{os.environ['PATH']}"
        words = command or ("bash", "--noprofile", "--norc", "-i")
        self.pid, self._leader = pty.fork()
        if not self.pid:
            os.chdir(folder)
            os.execvpe(words[0], words, env)  # noqa: S606 - a shell for a test
        termios.tcsetwinsize(self._leader, (50, 160))
        self._shown: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
        for pid in self.processes():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    @property
    def shown(self) -> str:
        """All that the terminal was sent so far."""
        return b"".join(self._shown).decode(errors="replace")

    def type(self, text: str, *, enter: bool = True) -> int:
        """Type, as if by hand; gives how much was shown before."""
        before = len(self.shown)
        os.write(self._leader, text.encode() + (b"\r" if enter else b""))
        return before

    def wait_for(self, pattern: str, within_s: float = 120.0, *, since: int = 0) -> bool:
        """Wait until something is shown."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            if re.search(pattern, self.shown[since:], re.DOTALL):
                return True
            time.sleep(0.1)
        return False

    def run(self, line: str, within_s: float = 240.0) -> tuple[int | None, str]:
        """Type a command and wait for its end; gives its status, `None` if it has not ended, and what was shown."""
        end = f"end-{uuid.uuid4().hex[:8]}"
        before = self.type(f"{line}; echo {end[:4]}''{end[4:]}=$?")
        self.wait_for(rf"{end}=\d+", within_s, since=before)
        shown = self.shown[before:]
        found = re.search(rf"{end}=(\d+)", shown)
        return (int(found[1]) if found else None), shown

    def processes(self) -> dict[int, str]:
        """State of every process that the shell has started, by its id; those with T are stopped."""
        found = {}
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                pid = int(folder.name)
                if f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes():
                    found[pid] = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        return found

    def stopped(self) -> list[int]:
        """Processes that a signal has stopped."""
        return [pid for pid, state in self.processes().items() if state in "Tt"]

    def close(self) -> None:
        """Close the terminal, as its window is closed."""
        if self._leader >= 0:
            os.close(self._leader)
            self._leader = -1
            with suppress(OSError):
                os.kill(self.pid, signal.SIGHUP)

    def gone_within(self, seconds: float) -> bool:
        """Whether all processes of the shell end within a time."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            with suppress(OSError):
                os.waitpid(self.pid, os.WNOHANG)
            if not self.processes():
                return True
            time.sleep(0.2)
        return False

    def _read(self) -> None:
        while True:
            try:
                self._shown.append(os.read(self._leader, 65536))
            except OSError:
                return


def script(path: Path, body: str) -> None:
    """A program of the shell's language."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
