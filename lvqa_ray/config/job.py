"""The job: one pydantic model, one YAML file, one field a stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from lvqa_ray.config.analysis_section import AnalysisSection, sampled_each
from lvqa_ray.config.sections import Checks, Endpoints, Engine, Section, Storage
from lvqa_ray.config.serve_section import Serve
from lvqa_ray.config.yaml_io import mapping, override, sentence
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import STORES
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.caption import CaptionClips
from lvqa_ray.stages.cut import CutClips
from lvqa_ray.stages.filter import FilterClips
from lvqa_ray.stages.merge import MergeCaptions
from lvqa_ray.stages.probe import ProbeVideo
from lvqa_ray.stages.reformat import ReformatReasoning
from lvqa_ray.stages.sample import SampleFrames
from lvqa_ray.stages.speech import FindSpeech
from lvqa_ray.stages.split import SplitVideo
from lvqa_ray.stages.summarize import SummarizeVideo

HOW = {"videos", "output", "limit", "storage", "engine", "endpoints", "serve"}
"""Fields of a job that change no answer, or are told apart by hand."""


class Job(Section):
    """Everything about a run: what goes in, what comes out, who is asked, and every stage's settings."""

    videos: tuple[str, ...] = Field(
        min_length=1,
        description="Files, folders, glob patterns (also s3://), URLs, or manifests (.json, .jsonl, .parquet, .csv). "
        "A name that exists is literal; only one that does not may be a pattern.",
    )
    output: str = Field(
        min_length=1, description="Folder for everything that the run writes, also of a bucket (s3://bucket/folder)."
    )
    limit: int | None = Field(default=None, ge=1, description="Take only the first so many videos; null for all.")
    endpoints: Endpoints = Field(description="Who is asked for what.")
    probe: ProbeVideo = Field(default_factory=ProbeVideo, description="Finding out what a video is.")
    speech: FindSpeech = Field(default_factory=FindSpeech, description="What is said in a video, and who knows it.")
    split: SplitVideo = Field(default_factory=SplitVideo, description="Where clips begin and end.")
    filter: FilterClips = Field(default_factory=FilterClips, description="Which clips are left out.")
    cut: CutClips = Field(default_factory=CutClips, description="Whether and how clips become files.")
    sample: SampleFrames = Field(default_factory=SampleFrames, description="Which pictures the model sees.")
    caption: CaptionClips = Field(default_factory=CaptionClips, description="How clips are captioned.")
    merge: MergeCaptions = Field(default_factory=MergeCaptions, description="How captions are joined.")
    summarize: SummarizeVideo = Field(
        default_factory=SummarizeVideo, description="How films are told whose captions are too many for one prompt."
    )
    analysis: AnalysisSection = Field(
        default_factory=AnalysisSection,
        description="What is told of each video as a whole, beside the questions about it.",
    )
    ask: AskQuestions = Field(default_factory=AskQuestions, description="How the questions are asked for.")
    checks: Checks = Field(default_factory=Checks, description="What is checked, and what is done about faults.")
    reformat: ReformatReasoning = Field(
        default_factory=ReformatReasoning, description="How the reasoning is rewritten."
    )
    storage: Storage = Field(default_factory=Storage, description="How object stores are reached.")
    engine: Engine = Field(default_factory=Engine, description="How the job runs.")
    serve: Serve = Field(default_factory=Serve, description="How the service is reached, and what it takes on.")

    @model_validator(mode="before")
    @classmethod
    def _as_written_by_hand(cls, given: Any) -> Any:  # noqa: ANN401 - whatever the caller gave
        """Take a single video for a list of one, and a section with nothing in it for one that is left out."""
        if not isinstance(given, Mapping):
            return given
        written = {key: value for key, value in given.items() if value is not None}
        if isinstance(written.get("videos"), str):
            written["videos"] = [written["videos"]]
        return sampled_each(written)

    @field_validator("output")
    @classmethod
    def _one_place(cls, output: str) -> str:
        """Make the path absolute: the workers may run in another folder than the driver."""
        scheme, remote, path = output.partition("://")
        if remote:
            if scheme not in STORES or not path.strip("/"):
                places = ", ".join(f"{name}://" for name in STORES)
                raise ValueError(f"{output} is no folder of a disk and no bucket; what can be written is {places}")
            return output.rstrip("/")
        return str(Path(output).expanduser().absolute())

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not self.ask.wanted and not self.analysis.tasks:
            raise ValueError("ask.quota asks no question, and analysis.tasks names nothing to do instead: set one")
        return self

    @model_validator(mode="after")
    def _clips_to_show(self) -> Self:
        if self.caption.media == "video" and self.cut.mode == "off":
            raise ValueError("caption.media=video shows cut clips to the model: set cut.mode to exact, encode or copy")
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Self:
        """A job from a YAML file.

        Args:
            path: The file. Paths inside it are relative to the current folder, not to the file.
            overrides: ``section.key=value`` each, the value read as YAML.

        Raises:
            ConfigError: One sentence that says what is wrong and where.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is no UTF-8 text; is it a job file?") from None
        return cls.read(text, overrides, where=str(path))

    @classmethod
    def read(cls, text: str, overrides: Iterable[str] = (), *, where: str) -> Self:
        """A job from the text of a YAML file; arguments and errors as for `load`.

        Args:
            text: The text.
            overrides: ``section.key=value`` each, the value read as YAML.
            where: What to name as the place of a mistake.
        """
        return cls.of(mapping(text, where), overrides, where=where)

    @classmethod
    def of(cls, given: Mapping[str, Any], overrides: Iterable[str] = (), *, where: str = "the job") -> Self:
        """A job from plain values.

        Args:
            given: Nested mappings, as in the YAML file.
            overrides: ``section.key=value`` each, the value read as YAML.
            where: What to name as the place of a mistake.

        Raises:
            ConfigError: One sentence that says what is wrong and where.
        """
        try:
            merged = json.loads(json.dumps(given, default=str))
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"{where} holds what no setting can be: {error}.") from None
        for each in overrides:
            override(merged, each)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(sentence(error, where)) from None
        except ConfigError as error:  # an endpoint's own words, which never quote what may be a secret
            raise ConfigError(f"{where}: endpoints: {error}") from None

    @property
    def job_hash(self) -> str:
        """Hash of what changes an answer: not the videos, the output folder, speed, limits or prices."""
        content = self._content()
        content["endpoints"] = {role: self.endpoints.of(role).answering for role in self.endpoints.roles}
        return _hash(content)

    @property
    def part_hashes(self) -> dict[str, str]:
        """The same by stage, each with the endpoint that it asks: tells which settings two jobs differ in."""
        content = self._content()
        for stage in (self.caption, self.summarize, self.ask, self.reformat):
            content[stage.name]["endpoint"] = self.endpoints.of(stage.role).answering
        if self.endpoints.speech is not None:
            content["speech"]["endpoint"] = self.endpoints.of("speech").answering
        for check in (*self.checks.calling, *self.checks.seeing, self.checks.prose):
            content["checks"][check.name]["endpoint"] = self.endpoints.of(check.role).answering
        for task in self.analysis.stages:
            content["analysis"][task.name]["endpoint"] = self.endpoints.of(task.role).answering
        return {stage: _hash(settings) for stage, settings in content.items()}

    @property
    def listens_otherwise(self) -> bool:
        """Whether the section about speech says anything: jobs from before there was one are still the same jobs."""
        return self.speech != FindSpeech() or self.endpoints.speech is not None

    def _content(self) -> dict[str, Any]:
        """The settings that change an answer; a section that is off is none of them."""
        off = {"speech": not self.listens_otherwise, "analysis": not self.analysis.tasks}
        content: dict[str, Any] = self.model_dump(mode="json", exclude=HOW | {name for name in off if off[name]})
        del content["split"]["max_clips"]  # a limit: it decides whether there is an answer, and not which
        if self.probe.max_lost_share == ProbeVideo().max_lost_share:  # jobs from before it are still the same jobs
            del content["probe"]["max_lost_share"]
        return content


def _hash(content: Any) -> str:  # noqa: ANN401 - any plain values
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
