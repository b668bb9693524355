"""Progress reporter: a thread that reports every few seconds what a run does or waits for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from lvqa_ray.engine.progress import Progress, ProgressReader
from lvqa_ray.engine.waiting import STILL_S

PROGRESS_EVERY_S = 2.0
OnProgress = Callable[[Progress], None]
"""Callback for progress reports."""
logger = logging.getLogger(__name__)


class Reporter:
    """Reports the progress of a pass every few seconds, and any other phase of the run if it takes long.

    Args:
        on_progress: Receives the reports; the metrics of the endpoints are updated without it too.
    """

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._phase, self._since = "", self._began
        self._watch: ProgressReader | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="reporter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(PROGRESS_EVERY_S)

    def phase(self, waiting: str) -> None:
        """Enter a phase of the run outside a pass.

        Args:
            waiting: What the run waits for, as in "Waiting for ...".
        """
        self._phase, self._since = waiting, time.monotonic()

    def step(self, waiting: str) -> None:
        """Describe the phase that goes on in other words, such as how far it is; its time goes on too."""
        self._phase = waiting

    @contextmanager
    def watching(self, watch: ProgressReader) -> Iterator[None]:
        """Report the progress of a pass while the block runs, and once more at its end."""
        self._watch = watch
        try:
            yield
        finally:
            self._report()
            self._watch = None
            self.phase("the end of the pass")

    def _loop(self) -> None:
        while not self._over.wait(PROGRESS_EVERY_S):
            self._report()

    def _report(self) -> None:
        with self._lock:
            watch = self._watch
            try:
                if watch is not None:
                    if self._on_progress is None:
                        watch.ask()
                    else:
                        self._on_progress(watch.look())
                elif self._on_progress is not None and self._phase:
                    self._report_phase(self._on_progress)
            except Exception as error:  # a failed report must not end the thread
                logger.info("cannot report the progress", exc_info=error)

    def _report_phase(self, on_progress: OnProgress) -> None:
        now = time.monotonic()
        if (still_s := now - self._since) >= STILL_S:
            seconds = now - self._began
            on_progress(Progress(seconds, 0, phase=self._phase, still_s=still_s, waiting=self._phase))
