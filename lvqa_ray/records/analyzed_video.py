"""The frozen rows of what is told of a video as a whole: shots, summaries, titles, a mind map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import JsonValue

from lvqa_ray.records.rows import CaptionedVideo, Failure, Usage, Video

Task = Literal["analysis", "summary", "titles", "mind_map"]
TASKS: tuple[Task, ...] = get_args(Task)
"""In the order in which they are done: each may rest on those before it."""
Style = Literal["plot_detail", "summary", "tags", "highlights", "multi_task"]
STYLES: tuple[Style, ...] = get_args(Style)
NO_USAGE = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What came of one task for one video: a text and its value, or a failure.

    Attributes:
        task: Which task.
        style: Of a summary, which kind; of other tasks empty.
        text: The reply without its draft; of ``analysis`` the merged captions; empty where there is a failure.
        value: What was read from the text. ``analysis``: a list of ``{start_ms, end_ms, text}``, one a shot.
            ``titles``: ``{titles: [...]}``. ``mind_map``: a tree of ``{name, children}``. ``summary``: by its style
            ``{tags: [...]}``, ``{highlights: [...]}`` or ``{title, tags, highlights}``; ``None`` for prose.
        model: Who answered.
        usage: What it cost; of ``analysis``, what the captions did.
        note: What was done otherwise than asked for, or empty.
        failure: Why there is no text, if there is none; it holds the reply that could not be used.
    """

    task: Task
    style: Style | Literal[""] = ""
    text: str = ""
    value: JsonValue = None
    model: str = ""
    usage: Usage = NO_USAGE
    note: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzedVideo:
    """A film on its way through the tasks.

    Attributes:
        shots: What is seen in it, as lines ``From {start} to {end}, {text}`` that fit into a prompt.
        speech: What is said in it, as such lines; empty where nothing is known to be said.
        note: What had to be summed up for that, or empty.
        usage: What summing up cost.
        results: Of the tasks so far, in order.
        failure: Why the film cannot be told within a prompt, if it cannot; no task then has a result.
    """

    film: CaptionedVideo
    shots: str
    speech: str
    note: str = ""
    usage: Usage = NO_USAGE
    results: tuple[Analysis, ...] = ()
    failure: Failure | None = None

    @property
    def summary(self) -> Analysis | None:
        """The summary that later tasks rest on: the first of its styles."""
        return next((result for result in self.results if result.task == "summary"), None)

    @property
    def no_summary(self) -> Failure | None:
        """Why there is none."""
        return self.summary.failure if self.summary else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisRecord:
    """All results of a video, in one row, so that they end in one shard.

    Attributes:
        alone: Whether no question is asked about the video: then this is all that becomes of it.
    """

    video: Video
    results: tuple[Analysis, ...]
    alone: bool
