"""Request body of the plain API, and the job made from it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from lvqa_ray.config import Job
from lvqa_ray.engine.local.analysis_store import TASK_NAME
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import Style, Task
from lvqa_ray.serve.invalid import invalid
from lvqa_ray.stage import Role

LONGEST_TEXT_CHARS = 40_000
"""Maximum characters of a template or of further material."""
Name = Annotated[str, Field(pattern=f"^{TASK_NAME.pattern}$")]
LongText = Annotated[str, Field(max_length=LONGEST_TEXT_CHARS)]


class AnalysisRequest(BaseModel):
    """Request for an analysis. Fields left out have the values of the service's job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    video: str | None = Field(
        default=None,
        max_length=8192,
        description="Address of the video: http://, https://, or another scheme that the service allows. Optional "
        "with `base`.",
    )
    tasks: tuple[Task, ...] = Field(
        default=("summary",),
        min_length=1,
        max_length=4,
        description="Results to make; their prerequisites are made first.",
    )
    styles: tuple[Style, ...] = Field(default=(), max_length=5, description="Styles of the summary.")
    task: Name | None = Field(default=None, description="Name of the result; default: a random name.")
    base: Name | None = Field(
        default=None,
        description="Session of an earlier analysis of the same task: fields left out here have its values.",
    )
    vlm_model: str | None = Field(default=None, max_length=200, description="Vision model that describes shots.")
    llm_model: str | None = Field(default=None, max_length=200, description="Language model that writes the results.")
    caption_prompt: LongText | None = Field(default=None, description="Prompt for each shot; may contain {asr}.")
    summary_prompt: LongText | None = Field(
        default=None, description="Prompt for the summary; contains {video_analysis_text} and {video_asr_text}."
    )
    language: str | None = Field(default=None, max_length=100, description="Language of all results, such as German.")
    extra_info: LongText | None = Field(
        default=None, description="Further material, for {video_extra_info} in the prompts."
    )
    snapshot_interval: float | None = Field(
        default=None, ge=1, le=10, allow_inf_nan=False, description="Seconds between two frames of a shot, 1 to 10."
    )

    titles: int | None = Field(default=None, ge=1, le=20, description="Number of titles.")
    clip_seconds: float | None = Field(
        default=None, ge=1, le=600, allow_inf_nan=False, description="Length of a shot, instead of `split` (s)."
    )

    def on(self, before: dict[str, Any]) -> AnalysisRequest:
        """Fill unset fields from an earlier request."""
        fields = {**before, **self.model_dump(exclude_unset=True)}
        return AnalysisRequest.model_validate(
            {name: value for name, value in fields.items() if name in AnalysisRequest.model_fields}
        )


def job_for(wanted: AnalysisRequest, base: Job, video: str) -> Job:
    """Derive the job of a request from the service's job.

    Args:
        wanted: The request.
        base: The service's own job.
        video: Address of the video.

    Raises:
        RefusedError: The settings are not valid, or the service does not offer the model.
    """
    given = base.model_dump(mode="json")
    analysis, caption = given["analysis"], given["caption"]
    given["videos"] = [video]
    given["ask"]["quota"] = {}
    analysis["tasks"] = list(wanted.tasks)
    for section, name, value in (
        (analysis["summary"], "styles", list(wanted.styles) or None),
        (analysis["summary"], "prompt", wanted.summary_prompt),
        (analysis["titles"], "count", wanted.titles),
        (analysis, "language", wanted.language),
        (analysis, "extra_info", wanted.extra_info),
        (caption, "prompt", wanted.caption_prompt),
    ):
        if value is not None:
            section[name] = value
    if wanted.summary_prompt:
        # Without a named style, the reply to a prompt of the client is prose.
        analysis["summary"]["styles"] = list(wanted.styles[:1] or ("plot_detail",))
    if wanted.clip_seconds is not None:
        given["split"] |= {"mode": "fixed", "max_seconds": wanted.clip_seconds}
    caption["values"] = {**caption["values"], "video_extra_info": analysis["extra_info"]}
    if wanted.snapshot_interval is not None:
        analysis["snapshot_interval"] = wanted.snapshot_interval
        given["sample"]["per_second"] = None
    if wanted.vlm_model is not None:
        given["endpoints"]["vlm"] = _with_model(base, "vlm", wanted.vlm_model)
    if wanted.llm_model is not None:
        given["endpoints"]["llm"] = _with_model(base, "llm", wanted.llm_model)
    try:
        return Job.of(given, where="the request")
    except ConfigError as error:
        raise invalid(str(error)) from None


def _with_model(base: Job, role: Role, model: str) -> list[dict[str, Any]]:
    replicas = base.endpoints.endpoints_of(role)
    offered = dict.fromkeys((replicas[0].model, *base.serve.models))
    if model not in offered:
        raise invalid(f"There is no model {model[:80]!r} here; there is {', '.join(offered)}.")
    return [{**at.model_dump(mode="json"), "model": model} for at in replicas]
