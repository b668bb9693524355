"""Graceful shutdown: the first SIGINT, SIGTERM or SIGHUP drains requests in flight, the second exits immediately.

SIGHUP arrives when the terminal is closed or its connection breaks; the requests in flight are paid for.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHUTDOWN_POLL_S = 0.1


class Interrupted(KeyboardInterrupt):
    """The run stops immediately.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


class GracefulShutdown:
    """Signal handlers of a run. A third signal kills the process.

    Args:
        on_stop: Called, in another thread, after the first signal.

    Attributes:
        signum: The first signal; 0 if there was none.
    """

    def __init__(self, on_stop: Callable[[], None] | None = None) -> None:
        self.signum = 0
        self._on_stop = on_stop
        self._drains = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside the block; does nothing outside the main thread.

        Raises:
            Interrupted: At a signal outside `draining`, or at a second one.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = [number for number in SIGNALS if number != signal.SIGHUP or _handles_hangup()]
        before = {number: signal.signal(number, self._asked) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def draining(self, halt: Callable[[str], None], within_s: float) -> Iterator[None]:
        """Let the block finish after the first signal.

        Args:
            halt: Makes the block finish soon; called with the reason, in another thread.
            within_s: Timeout after which the run stops anyway (s).

        Raises:
            Interrupted: At the timeout, or at a second signal.
        """
        over = threading.Event()

        def watch() -> None:
            while not over.wait(
                SHUTDOWN_POLL_S
            ):  # polled: a handler must not take the lock of an event that it interrupted
                if self.signum:
                    if self._on_stop is not None:
                        self._on_stop()
                    halt(f"{signal.Signals(self.signum).name} was received.")
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
            elif _handles_hangup():  # the shell and the kernel each send one
                signal.signal(number, signal.SIG_IGN if signum == number else signal.SIG_DFL)
        raise Interrupted(self.signum or signum)


def _handles_hangup() -> bool:
    """Whether to handle SIGHUP: `nohup` starts a command with SIGHUP ignored."""
    return signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
