"""The request of RunVideoAnalysis, in the names of that service, and what it wants."""

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
TASKS: Mapping[Option, Task] = {
    "videoAnalysis": "analysis",
    "videoGenerate": "summary",
    "videoTitleGenerate": "titles",
    "videoMindMappingGenerate": "mind_map",
}
Template = Literal["PlotDetail", "Summary", "ExtractVideoTag", "ExplosivePointAnalysis", "MultiTask"]
STYLES: Mapping[Template, Style] = {
    "PlotDetail": "plot_detail",
    "Summary": "summary",
    "ExtractVideoTag": "tags",
    "ExplosivePointAnalysis": "highlights",
    "MultiTask": "multi_task",
}
ASR, SHOTS, EXTRA = "{videoAsrText}", "{videoAnalysisText}", "{videoExtraInfo}"


class RunVideoAnalysis(BaseModel):
    """What is to be made of a video; a name that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    video_url: str | None = Field(
        default=None, max_length=8192, description="Address of the video; may be left out with originalSessionId."
    )
    video_model_id: str | None = Field(default=None, max_length=200, description="Model that looks at shots.")
    video_model_custom_prompt_template: LongText | None = Field(
        default=None, description=f"Asked about each shot; must hold {ASR}, and may hold {EXTRA}."
    )
    model_id: str | None = Field(default=None, max_length=200, description="Model that writes.")
    model_custom_prompt_template_id: Template | None = Field(default=None, description="The kind of summary.")
    model_custom_prompt_template: LongText | None = Field(
        default=None,
        description=f"Asked for the summary, in place of that kind's own prompt; must hold {ASR} and {SHOTS}.",
    )
    generate_options: list[Option] | None = Field(
        default=None, max_length=4, description="What to make, videoGenerate if left out; what it rests on comes first."
    )
    task_id: Name | None = Field(default=None, description="Names the task; made up if left out.")
    original_session_id: Name | None = Field(
        default=None, description="Session of an earlier run of the same task to build on, with its taskId."
    )
    video_extra_info: LongText | None = Field(default=None, description=f"Further material, for {EXTRA}.")
    snapshot_interval: float | None = Field(
        default=None, ge=1, le=10, allow_inf_nan=False, description="Seconds between two pictures, 1 to 10."
    )

    @property
    def wanted(self) -> AnalysisRequest:
        """The same in the names of this program.

        Raises:
            RefusedError: A template does not hold what it has to, or an earlier session is named without its task.
        """
        if self.original_session_id and not self.task_id:
            raise invalid("originalSessionId needs the taskId of the same run.")
        # A template of the client's own asks for prose, whatever kind of summary is named beside it.
        style = "PlotDetail" if self.model_custom_prompt_template else self.model_custom_prompt_template_id
        said: dict[str, Any] = {
            "video": self.video_url,
            "tasks": tuple(dict.fromkeys(TASKS[option] for option in self.generate_options or ())) or None,
            "styles": (STYLES[style],) if style else None,
            "task": self.task_id,
            "base": self.original_session_id,
            "vlm_model": self.video_model_id,
            "llm_model": self.model_id,
            "caption_prompt": _template(
                self.video_model_custom_prompt_template,
                "videoModelCustomPromptTemplate",
                {ASR: "{asr}", EXTRA: "{video_extra_info}"},
                needed=(ASR,),
            ),
            "summary_prompt": _template(
                self.model_custom_prompt_template,
                "modelCustomPromptTemplate",
                {ASR: "{video_asr_text}", SHOTS: "{video_analysis_text}", EXTRA: "{video_extra_info}"},
                needed=(ASR, SHOTS),
            ),
            "extra_info": self.video_extra_info,
            "snapshot_interval": self.snapshot_interval,
        }
        return AnalysisRequest.model_validate({name: value for name, value in said.items() if value is not None})


def _template(given: str | None, name: str, variables: Mapping[str, str], *, needed: Sequence[str]) -> str | None:
    """The prompt template of a client in our names. Braces are text, but for the documented variables.

    Args:
        given: The template.
        name: The field that holds it.
        variables: Our placeholder for each variable of that service.
        needed: Variables that the template must hold.

    Raises:
        RefusedError: It lacks one.
    """
    if not given:
        return None
    for variable in needed:
        if variable not in given:
            raise invalid(f"{name} must hold {variable}.")
    parts = re.split("(" + "|".join(map(re.escape, variables)) + ")", given)
    return "".join(variables.get(part) or part.replace("{", "{{").replace("}", "}}") for part in parts)


def read(body: bytes, content_type: str) -> RunVideoAnalysis:
    """The request in a body: JSON, or a form as that service's own clients send it.

    Raises:
        RefusedError: It cannot be read.
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
        raise invalid(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"])) or "The body"
    return f"{where}: {first['msg']}."


def from_validation(errors: Any) -> RefusedError:  # noqa: ANN401 - as FastAPI gives them
    """The same of a request that FastAPI has read."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "The body"
    return invalid(f"{where}: {first['msg']}.")
