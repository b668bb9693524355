"""Config section ``analysis``: results about each video as a whole."""

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

NEEDS: dict[Task, tuple[Task, ...]] = {
    "analysis": (),
    "summary": (),
    "titles": ("summary",),
    "mind_map": ("summary",),
}
"""Tasks whose results a task needs; all of them need the captions."""


class AnalysisSection(Section):
    """Results about each video as a whole, besides the questions."""

    tasks: tuple[Task, ...] = Field(
        default=(),
        description="Results to make: analysis (the caption of each shot), summary, titles, mind_map, and the "
        "results that these use. Empty for none.",
    )
    snapshot_interval: float | None = Field(
        default=None,
        ge=1,
        le=10,
        allow_inf_nan=False,
        description="Seconds between two frames that the vision model sees: sets `sample.per_second` to its "
        "inverse. null for the settings of `sample`.",
    )
    language: str = Field(
        default="", description="Language of all results, such as German; empty for the language of the captions."
    )
    extra_info: str = Field(
        default="",
        description="Additional information about the videos. It replaces {video_extra_info} in a prompt, or is "
        "appended to it.",
    )
    summary: WriteSummary = Field(default_factory=WriteSummary, description="How summaries are written.")
    titles: WriteTitles = Field(default_factory=WriteTitles, description="How titles are written.")
    mind_map: DrawMindMap = Field(default_factory=DrawMindMap, description="How mind maps are written.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError("tasks: a task is listed twice")
        return self

    @property
    def wanted(self) -> tuple[Task, ...]:
        """The tasks and those that they need, in the order of execution."""
        needed = {*self.tasks, *(before for task in self.tasks for before in NEEDS[task])}
        return tuple(task for task in TASKS if task in needed)

    @property
    def stages(self) -> tuple[VideoTask, ...]:
        """The stages of tasks that call an endpoint, in order."""
        every: tuple[VideoTask, ...] = (self.summary, self.titles, self.mind_map)
        return tuple(stage for stage in every if stage.task in self.wanted)

    @property
    def wish(self) -> Wish:
        """Settings shared by all tasks."""
        return Wish(language=self.language, extra_info=self.extra_info)


def with_snapshot_interval(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Apply ``analysis.snapshot_interval`` to the settings of a job, as ``sample.per_second``.

    Raises:
        ValueError: Both are set and contradict each other.
    """
    analysis, sample = given.get("analysis"), given.get("sample")
    interval = analysis.get(SNAPSHOT) if isinstance(analysis, Mapping) else getattr(analysis, SNAPSHOT, None)
    if not isinstance(interval, int | float) or not 1 <= interval <= 10:
        return given  # not set, or refused by the section itself
    per_second = sample.get("per_second") if isinstance(sample, Mapping) else getattr(sample, "per_second", None)
    if isinstance(per_second, int | float) and per_second != 1 / interval:
        raise ValueError(
            f"analysis.snapshot_interval={interval:g} and sample.per_second={per_second:g} contradict each other: "
            "leave one out"
        )
    if sample is None or isinstance(sample, Mapping):
        return {**given, "sample": {**(sample or {}), "per_second": 1 / interval}}
    return {**given, "sample": replace(sample, per_second=1 / interval)}


SNAPSHOT = "snapshot_interval"
