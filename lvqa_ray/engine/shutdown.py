"""Ctrl-C, SIGTERM and SIGHUP: the first one lets come home what is under way, the second one stops at once.

SIGHUP comes when the terminal is closed or the connection to it breaks: the answers under way are paid for.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_EVERY_S = 0.1


class Interrupted(KeyboardInterrupt):
    """The run stops at once.

    Attributes:
        signum: The signal that asked for it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


class GracefulShutdown:
    """What signals have asked for. A third one ends the process, whatever it is doing.

    Args:
        on_stop: Called, in another thread, when the first one has come.

    Attributes:
        signum: The signal that asked to stop; 0 if none did.
    """

    def __init__(self, on_stop: Callable[[], None] | None = None) -> None:
        self.signum = 0
        self._on_stop = on_stop
        self._drains = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals for as long as the block runs; where Python gives them to another thread, do nothing.

        Raises:
            Interrupted: There is nothing to wait for, or no more patience.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = [number for number in SIGNALS if number != signal.SIGHUP or _heeds_hangup()]
        before = {number: signal.signal(number, self._asked) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def draining(self, halt: Callable[[str], None], within_s: float) -> Iterator[None]:
        """Let the block come to its end after the first signal.

        Args:
            halt: Sees to it that it does, for the reason that it is given; it is called in another thread.
            within_s: How long that may take before the run is stopped all the same (s).

        Raises:
            Interrupted: It took longer, or there was another signal.
        """
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_EVERY_S):  # a handler must not take the lock of an event that it interrupted
                if self.signum:
                    if self._on_stop is not None:
                        self._on_stop()
                    halt(f"{signal.Signals(self.signum).name} asked for it.")
                    if not over.wait(within_s):
                        os.kill(os.getpid(), self.signum)
                    return

        watcher = threading.Thread(target=watch, name="stop", daemon=True)
        watcher.start()
        self._drains = True
        try:
            yield
        finally:
            self._drains = False
            over.set()
            watcher.join()

    def _asked(self, signum: int, _: FrameType | None) -> None:
        if self._drains and signum == self.signum == signal.SIGHUP:
            return  # the shell and the kernel each send one
        if self._drains and not self.signum:
            self.signum = signum
            return
        for number in SIGNALS:
            if number != signal.SIGHUP:
                signal.signal(number, signal.SIG_DFL)
            elif _heeds_hangup():  # the shell and the kernel each send one
                signal.signal(number, signal.SIG_IGN if signum == number else signal.SIG_DFL)
        raise Interrupted(self.signum or signum)


def _heeds_hangup() -> bool:
    """Whether SIGHUP is to be heeded: `nohup` starts a command with it ignored."""
    return signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
