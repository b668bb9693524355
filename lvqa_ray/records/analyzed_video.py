"""Frozen dataclasses of the analysis of a whole video: its merged captions, summaries, titles and mind map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from lvqa_ray.records.rows import CaptionedVideo, Failure, Video
from lvqa_ray.records.usage import NO_USAGE, Usage

if TYPE_CHECKING:  # rows and messages are read where pydantic is not loaded, as for `lvqa --help`
    from pydantic import JsonValue

Task = Literal["analysis", "summary", "titles", "mind_map"]
TASKS: tuple[Task, ...] = get_args(Task)
"""Tasks in the order in which they run: each may use the results of those before it."""
Style = Literal["plot_detail", "summary", "tags", "highlights", "multi_task"]
STYLES: tuple[Style, ...] = get_args(Style)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Result of one task for one video: a text and its parsed value, or a failure.

    Attributes:
        task: Which task.
        style: Kind of summary; empty for other tasks.
        text: The reply without its thinking tags; for ``analysis`` the merged captions; empty if the task failed.
        value: Parsed from the text. ``analysis``: a list of ``{start_ms, end_ms, text}``, one for each clip.
            ``titles``: ``{titles: [...]}``. ``mind_map``: a tree of ``{name, children}``. ``summary``: by its style
            ``{tags: [...]}``, ``{highlights: [...]}`` or ``{title, tags, highlights}``; ``None`` for prose.
        model: Model that replied.
        usage: Cost; for ``analysis``, the cost of the captions.
        note: How the result differs from what was requested, or empty.
        failure: Why there is no text; it holds the unusable reply.
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
    """A video while the analysis tasks run.

    Attributes:
        shots: Its captions, as lines ``From {start} to {end}, {text}`` that fit into a prompt.
        speech: Its transcript, as such lines; empty if no speech is known.
        note: What had to be summarized to fit, or empty.
        usage: Cost of summarizing.
        results: Results of the tasks so far, in order.
        failure: Why the captions cannot be made to fit into a prompt; then no task has a result.
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
        """The summary that later tasks use: the first of its styles."""
        return next((result for result in self.results if result.task == "summary"), None)

    @property
    def no_summary(self) -> Failure | None:
        """Why there is no summary."""
        return self.summary.failure if self.summary else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisRecord:
    """All results of a video, in one row, so that one shard holds them all.

    Attributes:
        alone: Whether no questions are requested: then this row is the outcome of the video.
    """

    video: Video
    results: tuple[Analysis, ...]
    alone: bool
