"""Updates of a running analysis that are no rows: growing texts, and what was spent."""

from __future__ import annotations

from dataclasses import dataclass

from lvqa_ray.records import Style, Task, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowingText:
    """The text of a result as far as the endpoint has streamed it.

    Attributes:
        task: Which task.
        style: Kind of summary; empty for other tasks.
        text: All of the text so far; it starts anew if the request is sent again.
    """

    task: Task
    style: Style | str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Usage of a reply that this analysis paid for, not from the cache.

    Attributes:
        stage: Name of the stage that asked.
        usage: Its usage.
    """

    stage: str
    usage: Usage
