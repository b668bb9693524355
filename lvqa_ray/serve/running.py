"""An analysis that runs in this process, with its event log."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from lvqa_ray.engine.local.analysis_document import AnalysisDocument
from lvqa_ray.engine.local.live_updates import GrowingText, Spent
from lvqa_ray.records import Analysis, CaptionedClip, CaptionedVideo, Clip, ProbedVideo, Row

GROWTH = 1.1
"""Growth factor of the captions between two progress events. Each event holds all results so far, so sending one per
caption would make the total size quadratic."""
TEXT_EVERY_S = 0.3
"""Minimum time (s) between two events about growing texts."""
STARTED, BEGUN, GROWN = "task-started", "task-progress-start-generating", "task-progress-generating"
MADE = "result-generated"
FINISHED, FAILED = "task-finished", "task-failed"
OVER = (FINISHED, FAILED)


@dataclass(slots=True)
class Running:
    """An analysis that runs or has run in this process, with its event log.

    Attributes:
        analysis: The results so far.
        workspace: Its workspace.
        events: Name and subject of all events so far.
        changed: Set and then replaced when an event is added.
        work: The task that runs it.
        waits: Whether it waits for its turn.
        watchers: Number of clients that read its events.
        began: When it was started (s, monotonic clock).
    """

    analysis: AnalysisDocument
    workspace: str = ""
    events: list[tuple[str, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None
    waits: bool = True
    watchers: int = 0
    began: float = field(default_factory=time.monotonic)
    reported_captions: int = 0
    reported_text_at: float = 0.0

    @property
    def over(self) -> bool:
        """Whether the last event has been added."""
        return bool(self.events) and self.events[-1][0] in OVER

    def emit(self, name: str, about: str = "") -> None:
        """Add an event and wake the clients that wait for it."""
        if not self.over:
            self.events.append((name, about))
            changed, self.changed = self.changed, asyncio.Event()
            changed.set()

    def add(self, row: Row | Analysis | GrowingText | Spent) -> None:
        """Add a row to the results, and emit an event if the row is worth one."""
        self.analysis.add(row)
        match row:
            case ProbedVideo():
                self.emit(BEGUN, "video")
            case Clip() if row.index == 0 and row.heard:
                self.emit(MADE, "speech")
            case CaptionedClip() if len(self.analysis.captions) >= GROWTH * self.reported_captions:
                self.reported_captions = len(self.analysis.captions)
                self.emit(GROWN, "analysis")
            case CaptionedVideo():
                self.emit(MADE, "analysis")
            case GrowingText() if time.monotonic() - self.reported_text_at >= TEXT_EVERY_S:
                self.reported_text_at = time.monotonic()
                self.emit(MADE, row.task)
            case Analysis() if row.task != "analysis" and row.failure is None:
                self.emit(MADE, row.task)

    def is_superseded(self, index: int) -> bool:
        """Whether a later event, already added, tells all that this one tells: the event of something that grows."""
        name, about = self.events[index]
        return name in (GROWN, MADE) and any(later == (name, about) for later in self.events[index + 1 :])

    async def wait_events(self, since: int, within_s: float) -> list[tuple[str, str]]:
        """Wait for events from this index on; an empty list after the timeout."""
        changed = self.changed
        if len(self.events) <= since and not self.over:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), within_s)
        return self.events[since:]
