"""Request model of the vendor's RunVideoAnalysis API, and its conversion to an `AnalysisRequest`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from lvqa_ray.records import Style, Task
from lvqa_ray.serve.analysis_request import AnalysisRequest, LongText, Name
from lvqa_ray.serve.invalid import RefusedError, invalid

Option = Literal["videoAnalysis", "videoGenerate", "videoTitleGenerate", "videoMindMappingGenerate"]
QUANMIAO_TASKS: Mapping[Option, Task] = {
    "videoAnalysis": "analysis",
    "videoGenerate": "summary",
    "videoTitleGenerate": "titles",
    "videoMindMappingGenerate": "mind_map",
}
Template = Literal["PlotDetail", "Summary", "ExtractVideoTag", "ExplosivePointAnalysis", "MultiTask"]
QUANMIAO_STYLES: Mapping[Template, Style] = {
    "PlotDetail": "plot_detail",
    "Summary": "summary",
    "ExtractVideoTag": "tags",
    "ExplosivePointAnalysis": "highlights",
    "MultiTask": "multi_task",
}
ASR, SHOTS, EXTRA_PLACEHOLDERS = "{videoAsrText}", "{videoAnalysisText}", "{videoExtraInfo}"


class RunVideoAnalysis(BaseModel):
    """Request for an analysis of a video. Unknown fields are an error."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    video_url: str | None = Field(
        default=None, max_length=8192, description="Address of the video; optional with originalSessionId."
    )
    video_model_id: str | None = Field(default=None, max_length=200, description="Vision model that describes shots.")
    video_model_custom_prompt_template: LongText | None = Field(
        default=None, description=f"Prompt for each shot; must contain {ASR}, and may contain {EXTRA_PLACEHOLDERS}."
    )
    model_id: str | None = Field(default=None, max_length=200, description="Language model that writes the results.")
    model_custom_prompt_template_id: Template | None = Field(default=None, description="The kind of summary.")
    model_custom_prompt_template: LongText | None = Field(
        default=None,
        description=f"Prompt for the summary, instead of the kind's own prompt; must contain {ASR} and {SHOTS}.",
    )
    generate_options: list[Option] | None = Field(
        default=None,
        max_length=4,
        description="Results to make, default videoGenerate; their prerequisites are made first.",
    )
    task_id: Name | None = Field(default=None, description="Name of the task; default: a random name.")
    original_session_id: Name | None = Field(
        default=None, description="Session of an earlier run of the same task to build on, with its taskId."
    )
    video_extra_info: LongText | None = Field(default=None, description=f"Further material, for {EXTRA_PLACEHOLDERS}.")
    snapshot_interval: float | None = Field(
        default=None, ge=1, le=10, allow_inf_nan=False, description="Seconds between two frames, 1 to 10."
    )

    @property
    def wanted(self) -> AnalysisRequest:
        """The request with this program's names.

        Raises:
            RefusedError: A template lacks a variable, or an earlier session is given without its task.
        """
        if self.original_session_id and not self.task_id:
            raise invalid("originalSessionId needs the taskId of the same run.")
        # A custom template makes prose, whatever kind of summary the request names.
        style = "PlotDetail" if self.model_custom_prompt_template else self.model_custom_prompt_template_id
        fields: dict[str, Any] = {
            "video": self.video_url,
            "tasks": tuple(dict.fromkeys(QUANMIAO_TASKS[option] for option in self.generate_options or ())) or None,
            "styles": (QUANMIAO_STYLES[style],) if style else None,
            "task": self.task_id,
            "base": self.original_session_id,
            "vlm_model": self.video_model_id,
            "llm_model": self.model_id,
            "caption_prompt": _template(
                self.video_model_custom_prompt_template,
                "videoModelCustomPromptTemplate",
                {ASR: "{asr}", EXTRA_PLACEHOLDERS: "{video_extra_info}"},
                needed=(ASR,),
            ),
            "summary_prompt": _template(
                self.model_custom_prompt_template,
                "modelCustomPromptTemplate",
                {ASR: "{video_asr_text}", SHOTS: "{video_analysis_text}", EXTRA_PLACEHOLDERS: "{video_extra_info}"},
                needed=(ASR, SHOTS),
            ),
            "extra_info": self.video_extra_info,
            "snapshot_interval": self.snapshot_interval,
        }
        return AnalysisRequest.model_validate({name: value for name, value in fields.items() if value is not None})


def _template(given: str | None, name: str, variables: Mapping[str, str], *, needed: Sequence[str]) -> str | None:
    """Convert a client's prompt template to our placeholders. Other braces are text.

    Args:
        given: The template.
        name: Name of its field, for messages.
        variables: Our placeholder for each variable of the vendor's API.
        needed: Required variables.

    Raises:
        RefusedError: A required variable is missing.
    """
    if not given:
        return None
    for variable in needed:
        if variable not in given:
            raise invalid(f"{name} must hold {variable}.")
    parts = re.split("(" + "|".join(map(re.escape, variables)) + ")", given)
    return "".join(variables.get(part) or part.replace("{", "{{").replace("}", "}}") for part in parts)


def read(body: bytes, content_type: str) -> RunVideoAnalysis:
    """Parse a request body: JSON, or a form, as the vendor's own clients send it.

    Raises:
        RefusedError: The body is not valid.
    """
    try:
        if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            given: Any = {name: values[-1] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
            if isinstance(given.get("generateOptions"), str):
                given["generateOptions"] = json.loads(given["generateOptions"])
        else:
            given = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise invalid("The body is neither JSON nor a form.") from None
    try:
        return RunVideoAnalysis.model_validate(given, by_name=False, by_alias=True)
    except ValidationError as error:
        raise from_validation(error.errors(include_url=False, include_input=False, include_context=False)) from None


def from_validation(errors: Sequence[Any]) -> RefusedError:
    """Make the error for a request that failed validation."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "The body"
    return invalid(f"{where}: {first['msg']}.")
