"""Request models of the vendor's video analysis API, and their conversion to an `AnalysisRequest`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from lvqa_ray.records import Style, Task
from lvqa_ray.serve.analysis_request import AnalysisRequest, LongText, Name
from lvqa_ray.serve.invalid import RefusedError, invalid
from lvqa_ray.serve.quanmiao.body_forms import fields_of
from lvqa_ray.serve.quanmiao.client_template import (
    ASR,
    EXTRA_PLACEHOLDERS,
    SHOT_VARIABLES,
    SHOTS,
    SUMMARY_VARIABLES,
    converted,
)

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
UNSUPPORTED: Mapping[str, str] = {
    "addDocumentParam": "the service keeps no data sets of documents",
    "autoRoleRecognitionVideoUrl": "the service recognizes no faces",
    "faceIdentitySimilarityMinScore": "the service recognizes no faces",
    "frameSampleMethod": "give snapshotInterval instead",
    "textProcessTasks": "send one request per text, with originalSessionId",
    "videoCaptionInfo": "put the subtitles into the file, or beside it as .srt",
    "videoRoles": "the service recognizes no faces",
    "videoShotFaceIdentityCount": "the service recognizes no faces",
}
"""Parameters of the vendor's API that the service does not have, with the reason or what to do instead."""


class QuanmiaoBody(BaseModel):
    """A request body with the vendor's names. Unknown fields are an error."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    @classmethod
    def read(cls, body: bytes, content_type: str) -> Self:
        """Parse a body.

        Raises:
            RefusedError: The body is not valid.
        """
        return cls.checked(fields_of(body, content_type))

    @classmethod
    def checked(cls, fields: Mapping[str, Any]) -> Self:
        """Validate fields; errors as for `read`."""
        for name in sorted(UNSUPPORTED.keys() & fields):
            raise invalid(f"{name} is not supported: {UNSUPPORTED[name]}.")
        try:
            return cls.model_validate(fields, by_name=False, by_alias=True)
        except ValidationError as error:
            raise from_validation(error.errors(include_url=False, include_input=False, include_context=False)) from None


class VideoAnalysisBody(QuanmiaoBody):
    """Parameters of an analysis."""

    video_url: str | None = Field(
        default=None, max_length=8192, description="Address of the video; optional with originalSessionId."
    )
    video_urls: list[str] | None = Field(
        default=None, max_length=1, description="The same as a list of one; several videos are several requests."
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
    exclude_generate_options: list[Option] | None = Field(
        default=None, max_length=4, description="Results to leave out of generateOptions."
    )
    language: str | None = Field(
        default=None, max_length=100, description="Language of all results, such as chinese; that of the prompts."
    )
    video_extra_info: LongText | None = Field(default=None, description=f"Further material, for {EXTRA_PLACEHOLDERS}.")
    snapshot_interval: float | None = Field(
        default=None, ge=1, le=10, allow_inf_nan=False, description="Seconds between two frames, 1 to 10."
    )
    split_type: Literal["fixDuration"] | None = Field(
        default=None, description="Shots of splitInterval seconds each; the job's `split` by default."
    )
    split_interval: int | None = Field(default=None, ge=1, le=600, description="Length of a shot (s).")

    @property
    def wanted(self) -> AnalysisRequest:
        """The request with this program's names.

        Raises:
            RefusedError: A template lacks a variable, or no result is left.
        """
        own = converted(
            self.model_custom_prompt_template,
            "modelCustomPromptTemplate",
            SUMMARY_VARIABLES,
            needed=(ASR, SHOTS),
        )
        # A template of the client makes prose, whatever kind of summary the request names; a named kind without one
        # means the kind's own prompt, also if an earlier session had a template.
        style = "PlotDetail" if own else self.model_custom_prompt_template_id
        fields: dict[str, Any] = {
            "video": self.video_url or next(iter(self.video_urls or ()), None),
            "tasks": self._tasks,
            "styles": (QUANMIAO_STYLES[style],) if style else None,
            "vlm_model": self.video_model_id,
            "llm_model": self.model_id,
            "caption_prompt": converted(
                self.video_model_custom_prompt_template,
                "videoModelCustomPromptTemplate",
                SHOT_VARIABLES,
                needed=(ASR,),
            ),
            "summary_prompt": own or ("" if style else None),
            "language": self.language and self.language.capitalize(),
            "extra_info": self.video_extra_info,
            "snapshot_interval": self.snapshot_interval,
            "clip_seconds": self.split_interval,
            **self._names,
        }
        return AnalysisRequest.model_validate({name: value for name, value in fields.items() if value is not None})

    @property
    def _tasks(self) -> tuple[Task, ...] | None:
        without = set(self.exclude_generate_options or ())
        options = [option for option in self.generate_options or ["videoGenerate"] if option not in without]
        if not options:
            raise invalid("excludeGenerateOptions leaves nothing of generateOptions.")
        if self.generate_options is None and not without:
            return None
        return tuple(dict.fromkeys(QUANMIAO_TASKS[option] for option in options))

    @property
    def _names(self) -> dict[str, str | None]:
        """Names of the task and of the session to build on."""
        raise NotImplementedError


class SubmitVideoAnalysisTask(VideoAnalysisBody):
    """Request for an analysis of a video that outlives the connection."""

    deduplication_id: str | None = Field(
        default=None, max_length=200, description="A task with the same id is returned instead of a second one."
    )

    @property
    def _names(self) -> dict[str, str | None]:
        if not self.deduplication_id:
            return {}
        return {"task": f"dedup-{hashlib.sha256(self.deduplication_id.encode(errors='replace')).hexdigest()[:32]}"}


class RunVideoAnalysis(VideoAnalysisBody):
    """Request for an analysis of a video, whose events are streamed."""

    task_id: Name | None = Field(default=None, description="Name of the task; default: a random name.")
    original_session_id: Name | None = Field(
        default=None, description="Session of an earlier run of the same task to build on, with its taskId."
    )

    @property
    def _names(self) -> dict[str, str | None]:
        if self.original_session_id and not self.task_id:
            raise invalid("originalSessionId needs the taskId of the same run.")
        return {"task": self.task_id, "base": self.original_session_id}


class UpdateVideoAnalysisTask(QuanmiaoBody):
    """Request to change the status of a task."""

    task_id: Name = Field(description="The task, as SubmitVideoAnalysisTask named it.")
    task_status: Literal["CANCELED"] = Field(description="The new status: CANCELED stops the task.")


def from_validation(errors: Sequence[Any]) -> RefusedError:
    """Make the error for a request that failed validation."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "The body"
    return invalid(f"{where}: {first['msg']}.")
