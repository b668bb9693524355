"""The section of a job that says what is told of each video as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from pydantic import Field, model_validator

from lvqa_ray.config.sections import Section
from lvqa_ray.records import TASKS, Task
from lvqa_ray.stage.video_task import VideoTask, Wish
from lvqa_ray.stages.analysis.mind_map import DrawMindMap
from lvqa_ray.stages.analysis.summary import WriteSummary
from lvqa_ray.stages.analysis.titles import WriteTitles

RESTS_ON: dict[Task, tuple[Task, ...]] = {
    "analysis": (),
    "summary": (),
    "titles": ("summary",),
    "mind_map": ("summary",),
}
"""Tasks whose results another needs; all of them need the captions."""


class AnalysisSection(Section):
    """What is told of each video as a whole, beside the questions about it."""

    tasks: tuple[Task, ...] = Field(
        default=(),
        description="What to make: analysis (what is seen in each shot), summary, titles, mind_map; with what they "
        "rest on. Empty for nothing.",
    )
    snapshot_interval: float | None = Field(
        default=None,
        ge=1,
        le=10,
        allow_inf_nan=False,
        description="Seconds between two pictures that the model sees, 1 to 10: sets `sample.per_second` to its "
        "inverse. Null for what `sample` says.",
    )
    language: str = Field(
        default="", description="Language of all results, such as German; empty for that of the captions."
    )
    extra_info: str = Field(
        default="",
        description="Further material about the videos, which stands where a prompt has {video_extra_info}, or else "
        "at its end.",
    )
    summary: WriteSummary = Field(default_factory=WriteSummary, description="How films are summed up.")
    titles: WriteTitles = Field(default_factory=WriteTitles, description="How titles are written.")
    mind_map: DrawMindMap = Field(default_factory=DrawMindMap, description="How mind maps are drawn.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError("tasks: each may be named once")
        return self

    @property
    def wanted(self) -> tuple[Task, ...]:
        """The tasks with those that they rest on, in the order in which they are done."""
        needed = {*self.tasks, *(before for task in self.tasks for before in RESTS_ON[task])}
        return tuple(task for task in TASKS if task in needed)

    @property
    def stages(self) -> tuple[VideoTask, ...]:
        """Those of them that ask an endpoint, in order."""
        every: tuple[VideoTask, ...] = (self.summary, self.titles, self.mind_map)
        return tuple(stage for stage in every if stage.task in self.wanted)

    @property
    def wish(self) -> Wish:
        """What holds for all of them."""
        return Wish(language=self.language, extra_info=self.extra_info)


def sampled_each(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a job with what ``analysis.snapshot_interval`` says of them: ``sample.per_second``.

    Raises:
        ValueError: The two say different things.
    """
    analysis, sample = given.get("analysis"), given.get("sample")
    each = analysis.get(SNAPSHOT) if isinstance(analysis, Mapping) else getattr(analysis, SNAPSHOT, None)
    if not isinstance(each, int | float) or not 1 <= each <= 10:
        return given  # nothing, or what the section itself refuses
    said = sample.get("per_second") if isinstance(sample, Mapping) else getattr(sample, "per_second", None)
    if isinstance(said, int | float) and said != 1 / each:
        raise ValueError(
            f"analysis.snapshot_interval={each:g} and sample.per_second={said:g} say different things: leave one out"
        )
    if sample is None or isinstance(sample, Mapping):
        return {**given, "sample": {**(sample or {}), "per_second": 1 / each}}
    return {**given, "sample": replace(sample, per_second=1 / each)}


SNAPSHOT = "snapshot_interval"
