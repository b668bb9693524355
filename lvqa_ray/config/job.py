"""Job configuration: one pydantic model and one YAML file, with one field per stage."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from lvqa_ray.config.analysis_section import AnalysisSection, with_snapshot_interval
from lvqa_ray.config.endpoint_roles import Endpoints
from lvqa_ray.config.sections import Checks, Engine, Section, Storage
from lvqa_ray.config.serve_section import Serve
from lvqa_ray.config.yaml_io import mapping, override, sentence
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import STORES
from lvqa_ray.stage import Prompted
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.caption import CaptionClips
from lvqa_ray.stages.checks.hops import CheckHops
from lvqa_ray.stages.checks.overlap import CheckOverlap
from lvqa_ray.stages.checks.solve import CheckUnaided
from lvqa_ray.stages.cut import CutClips
from lvqa_ray.stages.filter import FilterClips
from lvqa_ray.stages.merge import MergeCaptions
from lvqa_ray.stages.probe import ProbeVideo
from lvqa_ray.stages.reformat import ReformatReasoning
from lvqa_ray.stages.sample import SampleFrames
from lvqa_ray.stages.speech import FindSpeech
from lvqa_ray.stages.split import SplitVideo
from lvqa_ray.stages.summarize import SummarizeVideo
from lvqa_ray.stages.transcribe import TranscribeSpeech

EXCLUDED = {"videos", "output", "limit", "storage", "engine", "endpoints", "serve"}
"""Fields that are not hashed, because they change no reply; the endpoints are hashed separately."""


NEWER_CHECKS: Mapping[str, object] = {
    "hops": CheckHops(),
    "overlap": CheckOverlap(),
    "unaided": CheckUnaided(),
}
"""Checks that older jobs did not have, as they are if a job does not set them; they are not hashed then."""


class Job(Section):
    """Configuration of a run: input, output, endpoints, and the settings of every stage."""

    videos: tuple[str, ...] = Field(
        min_length=1,
        description="Files, folders, glob patterns (also s3://), URLs, or manifests (.json, .jsonl, .parquet, "
        ".csv). An existing name is literal; any other may be a pattern.",
    )
    output: str = Field(min_length=1, description="Output folder, on disk or in a bucket (s3://bucket/folder).")
    limit: int | None = Field(default=None, ge=1, description="Process only the first N videos; null for all.")
    endpoints: Endpoints = Field(description="Which model does what, and where.")
    probe: ProbeVideo = Field(default_factory=ProbeVideo, description="Reading the header of a video.")
    speech: FindSpeech = Field(default_factory=FindSpeech, description="Subtitles and speech-to-text.")
    split: SplitVideo = Field(default_factory=SplitVideo, description="Where clips start and end.")
    filter: FilterClips = Field(default_factory=FilterClips, description="Which clips are removed.")
    cut: CutClips = Field(default_factory=CutClips, description="Whether and how clips become files.")
    sample: SampleFrames = Field(default_factory=SampleFrames, description="Which frames the vision model sees.")
    caption: CaptionClips = Field(default_factory=CaptionClips, description="How clips are captioned.")
    merge: MergeCaptions = Field(default_factory=MergeCaptions, description="How captions are joined.")
    summarize: SummarizeVideo = Field(
        default_factory=SummarizeVideo, description="Videos whose captions are too long for one prompt."
    )
    analysis: AnalysisSection = Field(
        default_factory=AnalysisSection, description="Results about each video as a whole, besides the questions."
    )
    ask: AskQuestions = Field(default_factory=AskQuestions, description="How questions are written.")
    checks: Checks = Field(default_factory=Checks, description="Checks of the questions, and the action on a fault.")
    reformat: ReformatReasoning = Field(
        default_factory=ReformatReasoning, description="How the reasoning is rewritten."
    )
    storage: Storage = Field(default_factory=Storage, description="How to reach object stores.")
    engine: Engine = Field(default_factory=Engine, description="How the job runs.")
    serve: Serve = Field(default_factory=Serve, description="`lvqa serve`: address, access and limits.")

    @model_validator(mode="before")
    @classmethod
    def _as_written_by_hand(cls, given: object) -> object:
        """Accept a single video instead of a list, and an empty section instead of a missing one."""
        if not isinstance(given, Mapping):
            return given
        written = {key: value for key, value in given.items() if value is not None}
        if isinstance(written.get("videos"), str):
            written["videos"] = [written["videos"]]
        return with_snapshot_interval(written)

    @field_validator("output")
    @classmethod
    def _one_place(cls, output: str) -> str:
        """Make the path absolute: the workers may run in another folder than the driver."""
        scheme, remote, path = output.partition("://")
        if remote:
            if scheme not in STORES or not path.strip("/"):
                places = ", ".join(f"{name}://" for name in STORES)
                raise ValueError(f"{output} is not writable: give a local folder, or a bucket with {places}")
            return output.rstrip("/")
        return str(Path(output).expanduser().absolute())

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not self.ask.wanted and not self.analysis.tasks:
            raise ValueError("both ask.quota and analysis.tasks are empty, so there is nothing to do: set one")
        return self

    @model_validator(mode="after")
    def _clips_to_show(self) -> Self:
        if self.caption.media == "video" and self.cut.mode == "off":
            raise ValueError("caption.media=video shows cut clips to the model: set cut.mode to exact, encode or copy")
        return self

    @model_validator(mode="after")
    def _served_on_ray(self) -> Self:
        if self.endpoints.served and self.engine.executor == "local":
            at = next(iter(self.endpoints.served.values()))
            raise ValueError(f"engine.executor=local cannot serve {at.label}: set engine.executor to auto or ray")
        return self

    @model_validator(mode="after")
    def _traces_to_rewrite(self) -> Self:
        if self.reformat.source != "steps" and self.checks.watch.policy == "off":
            raise ValueError(
                f"reformat.source={self.reformat.source} rewrites traces of checks.watch, which is off: set its policy "
                "to mark or drop"
            )
        return self

    @model_validator(mode="after")
    def _named_apart(self) -> Self:
        names = Counter(stage.name for stage in self.asking)
        if doubled := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"checks: {doubled[0]} is the name of another stage")
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Self:
        """Load a job from a YAML file.

        Args:
            path: The file. Paths inside it are relative to the current folder, not to the file.
            overrides: ``section.key=value`` each, the value in YAML.

        Raises:
            ConfigError: One sentence with the fault and its place.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is not UTF-8 text; is it a job file?") from None
        return cls.read(text, overrides, where=str(path))

    @classmethod
    def read(cls, text: str, overrides: Iterable[str] = (), *, where: str) -> Self:
        """Parse a job from YAML text; errors as for `load`.

        Args:
            text: The text.
            overrides: ``section.key=value`` each, the value in YAML.
            where: Name of the source in messages.
        """
        return cls.of(mapping(text, where), overrides, where=where)

    @classmethod
    def of(cls, given: Mapping[str, Any], overrides: Iterable[str] = (), *, where: str = "the job") -> Self:
        """Make a job from plain values; errors as for `load`.

        Args:
            given: Nested mappings, as in the YAML file.
            overrides: ``section.key=value`` each, the value in YAML.
            where: Name of the source in messages.
        """
        try:
            merged = json.loads(json.dumps(given, default=str))
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"{where} holds a value that is not valid as a setting: {error}.") from None
        for each in overrides:
            override(merged, each)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(sentence(error, where)) from None
        except ConfigError as error:  # a message of `Endpoint`, which never quotes a possible secret
            raise ConfigError(f"{where}: endpoints: {error}") from None

    @property
    def asking(self) -> tuple[Prompted, ...]:
        """The stages that call a chat model: those of the questions in the order of the pipeline, then the others."""
        questions = (self.ask, *self.checks.asking(self.reformat)) if self.ask.wanted else ()
        return (self.caption, *questions, *self.analysis.stages, self.summarize)

    @property
    def job_hash(self) -> str:
        """Hash of all settings that change a reply: not the videos, the output folder, speed, limits or prices."""
        content = self._content()
        roles = [role for role in self.endpoints.roles if role != "watcher" or self.checks.watch.policy != "off"]
        content["endpoints"] = {role: self.endpoints.of(role).answering for role in roles}
        return _hash(content)

    @property
    def part_hashes(self) -> dict[str, str]:
        """The same hash by stage, each with its endpoint: shows in which stages two jobs differ."""
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
        """Whether ``speech`` differs from its defaults; defaults are not hashed, so that older jobs keep their hash."""
        return self.speech != FindSpeech() or self.endpoints.speech is not None

    @property
    def silent_in_split(self) -> set[str]:
        """Settings of `split` that are not hashed: a limit, and unset parameters that older jobs did not have."""
        return {"max_clips"} if self.split.detector_args else {"max_clips", "detector_args"}

    def _content(self) -> dict[str, Any]:
        """The settings that change a reply, without sections that are off."""
        off = {"speech": not self.listens_otherwise, "analysis": not self.analysis.tasks}
        content: dict[str, Any] = self.model_dump(mode="json", exclude=EXCLUDED | {name for name in off if off[name]})
        for name in self.silent_in_split:
            del content["split"][name]
        if self.probe.max_lost_share == ProbeVideo().max_lost_share:  # older jobs keep their hash
            del content["probe"]["max_lost_share"]
        if not self.ask.kinds:
            del content["ask"]["kinds"]
        for name, unset in NEWER_CHECKS.items():
            if getattr(self.checks, name) == unset:
                del content["checks"][name]
        if self.checks.watch.policy == "off":
            del content["checks"]["watch"]
        if self.reformat.source == "steps":
            del content["reformat"]["source"]
        return content


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names of stages in the order of the pipeline; plugin checks come before the last stage."""
    rank = {name: number for number, name in enumerate(_names(Job))}
    return sorted(names, key=lambda name: (rank.get(name, len(rank) - 1.5), name))


def _names(section: type[BaseModel]) -> Iterator[str]:
    for field in section.model_fields.values():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _names(kind)
        elif isinstance(name := getattr(kind, "name", None), str):
            yield name
        if kind is FindSpeech:  # the section of both stages
            yield TranscribeSpeech.name


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
