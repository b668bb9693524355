"""The job: one pydantic model, one YAML file, one field a stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.records import STORES
from lvqa_ray.stage import ROLES, CallCheck, Check, Role
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.caption import CaptionClips
from lvqa_ray.stages.check_blind import CheckBlind
from lvqa_ray.stages.check_duplicates import CheckDuplicates
from lvqa_ray.stages.check_evidence import CheckEvidence
from lvqa_ray.stages.check_grounding import CheckGrounding
from lvqa_ray.stages.check_judge import CheckJudge
from lvqa_ray.stages.check_prose import CheckProse
from lvqa_ray.stages.check_solve import CheckSolve
from lvqa_ray.stages.check_structure import CheckStructure
from lvqa_ray.stages.cut import CutClips
from lvqa_ray.stages.filter import FilterClips
from lvqa_ray.stages.merge import MergeCaptions
from lvqa_ray.stages.probe import ProbeVideo
from lvqa_ray.stages.reformat import ReformatReasoning
from lvqa_ray.stages.rewrite import RewriteQuestion
from lvqa_ray.stages.sample import SampleFrames
from lvqa_ray.stages.shuffle import ShuffleOptions
from lvqa_ray.stages.split import SplitVideo
from lvqa_ray.stages.summarize import SummarizeFilm

HOW = {"videos", "output", "limit", "storage", "engine", "endpoints"}
"""Fields of a job that change no answer, or are told apart by hand."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _tag(given: Any) -> str:  # noqa: ANN401 - whatever the caller gave
    return _SEVERAL if isinstance(given, list | tuple) else _ONE


_ONE, _SEVERAL = "one", "several"
Replicas = Annotated[
    Annotated[Endpoint, Tag(_ONE)] | Annotated[tuple[Endpoint, ...], Field(min_length=1), Tag(_SEVERAL)],
    Discriminator(_tag),
]
"""One endpoint, or several that answer alike: more keys, or more servers with the same model."""


class Endpoints(_Section):
    """Who is asked for what.

    A role may have several endpoints: the first names the answers, in the journal and in the job's hash, so others are
    added and taken away without asking anything again. Work goes where there is room.
    """

    vlm: Replicas = Field(
        description="The vision model that captions clips; one endpoint, or a list that answer alike."
    )
    llm: Replicas = Field(description="The language model that writes questions; one endpoint, or a list.")
    reformat: Replicas | None = Field(
        default=None,
        description="The language model that rewrites reasoning; one, a list, or null for what writes questions.",
    )
    checker: Replicas | None = Field(
        default=None,
        description="The language model that answers questions to check them, which may be a cheaper one; one, a list, "
        "or null for what writes questions.",
    )

    @model_validator(mode="after")
    def _answer_alike(self) -> Self:
        for role in ROLES:
            first, *others = self.replicas(role)
            for other in others:
                if _answering(other) | {"base_url": first.base_url} != _answering(first):
                    raise ValueError(
                        f"the endpoints of {role} must answer alike: the same model, temperature, max_tokens and "
                        "extra_body"
                    )
        return self

    def of(self, role: Role) -> Endpoint:
        """The endpoint that names the answers of a role: its first."""
        return self.replicas(role)[0]

    def replicas(self, role: Role) -> tuple[Endpoint, ...]:
        """The endpoints that play a role."""
        given: Endpoint | tuple[Endpoint, ...] = getattr(self, self.section(role))
        return (given,) if isinstance(given, Endpoint) else given

    def section(self, role: Role) -> str:
        """The setting that names the endpoints of a role."""
        return "llm" if getattr(self, role) is None else role


class Checks(_Section):
    """What is checked of every question, in this order, and what is done about faults."""

    structure: CheckStructure = Field(default_factory=CheckStructure, description="Stem, options and key.")
    grounding: CheckGrounding = Field(default_factory=CheckGrounding, description="The time spans of the reasoning.")
    duplicates: CheckDuplicates = Field(
        default_factory=CheckDuplicates, description="Questions that repeat another one, of the video or of the corpus."
    )
    shuffle: ShuffleOptions = Field(default_factory=ShuffleOptions, description="The order of the options.")

    blind: CheckBlind = Field(default_factory=CheckBlind, description="Guessing without the video.")
    solve: CheckSolve = Field(default_factory=CheckSolve, description="Answering from the captions.")
    judge: CheckJudge = Field(default_factory=CheckJudge, description="A rubric of faults, in one call.")
    evidence: CheckEvidence = Field(
        default_factory=CheckEvidence, description="Whether pictures of the cited spans bear out what is claimed."
    )
    prose: CheckProse = Field(
        default_factory=CheckProse, description="Whether the rewritten reasoning leads to the key, with the same facts."
    )
    rewrite: RewriteQuestion = Field(
        default_factory=RewriteQuestion, description="How a question is written anew, where a check repairs."
    )

    @property
    def wanted(self) -> tuple[Check, ...]:
        """The checks without calls that are to be run, in order."""
        every: tuple[Check, ...] = (self.structure, self.grounding, self.duplicates, self.shuffle)
        return tuple(check for check in every if check.policy != "off")

    @property
    def calling(self) -> tuple[CallCheck, ...]:
        """The checks with calls that are to be run after them, in order."""
        every: tuple[CallCheck, ...] = (self.blind, self.solve, self.judge)
        return tuple(check for check in every if check.policy != "off")

    @property
    def seeing(self) -> tuple[CheckEvidence, ...]:
        """Those that are to see pictures, after all others."""
        return () if self.evidence.policy == "off" else (self.evidence,)


class Storage(_Section):
    """How object stores are reached; keys come from the environment, a profile or the machine's role, never from here.

    What is left out is what AWS's own variables and files say.
    """

    endpoint_url: str | None = Field(default=None, description="URL of an S3 server that is not AWS.")
    region: str | None = Field(default=None, description="Region of the buckets.")
    path_style: bool | None = Field(
        default=None, description="Whether the bucket stands in the path of a URL and not in its host; null: automatic."
    )
    anonymous: bool = Field(default=False, description="Sign no request, for public buckets.")
    profile: str | None = Field(default=None, description="Profile of the AWS configuration whose credentials to use.")

    @field_validator("endpoint_url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        if url is not None and (not url.startswith(("http://", "https://")) or "@" in url):
            raise ValueError("it has to begin with http:// or https:// and to hold no name or password")
        return url


class Engine(_Section):
    """How the job runs; nothing here changes an answer."""

    num_cpus: int | None = Field(
        default=None, ge=1, description="CPU cores that a Ray started by this job may use; null for all of the machine."
    )
    video_cpus: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="CPU cores that one decoding task takes."
    )
    video_memory_gb: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Memory that one decoding task reserves on its node (GB); null for none.",
    )
    chat_workers: int | None = Field(
        default=None,
        ge=1,
        description="Worker processes that talk to endpoints, for each phase; null for one for every 256 requests that "
        "may be under way, started as they are needed.",
    )
    rows_per_shard: int = Field(default=20_000, ge=1, description="Rows of a finished shard.")
    passes: int = Field(
        default=3,
        ge=1,
        description="How often a video that a dying worker took along is tried before it counts as lost.",
    )
    max_cost: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Most US dollars that one run may spend; it then stops in order. Null for no limit.",
    )
    max_requests: int | None = Field(
        default=None,
        ge=1,
        description="Most requests that one run may send, each attempt counted; it then stops. Null for no limit.",
    )
    retry_failures: bool = Field(
        default=False,
        description="Do all failed videos again, and ask again for replies that were refused, filtered or cut off.",
    )
    scratch_dir: str = Field(
        default="", description="Folder on each node for remote videos; empty for one in its temporary folder."
    )
    scratch_gb: float = Field(
        default=50.0,
        gt=0,
        allow_inf_nan=False,
        description="Most that a node's scratch folder may hold (GB); a larger video fails.",
    )
    decode_still_s: float = Field(
        default=120.0,
        gt=0,
        allow_inf_nan=False,
        description="Longest time in which decoding gets no further before the video fails (s).",
    )
    decode_slowest: float = Field(
        default=30.0,
        gt=0,
        allow_inf_nan=False,
        description="Longest time that one step may decode, as a multiple of the video's length.",
    )
    decode_memory_gb: float = Field(
        default=4.0, ge=0.25, allow_inf_nan=False, description="Most memory of one process that decodes (GB)."
    )


class Job(_Section):
    """Everything about a run: what goes in, what comes out, who is asked, and every stage's settings."""

    videos: tuple[str, ...] = Field(
        min_length=1,
        description="Files, folders, glob patterns (also s3://), URLs, or manifests (.json, .jsonl, .parquet, .csv).",
    )
    output: str = Field(
        min_length=1, description="Folder for everything that the run writes, also of a bucket (s3://bucket/folder)."
    )
    limit: int | None = Field(default=None, ge=1, description="Take only the first so many videos; null for all.")
    endpoints: Endpoints = Field(description="Who is asked for what.")
    probe: ProbeVideo = Field(default_factory=ProbeVideo, description="Finding out what a video is.")
    split: SplitVideo = Field(default_factory=SplitVideo, description="Where clips begin and end.")
    filter: FilterClips = Field(default_factory=FilterClips, description="Which clips are left out.")
    cut: CutClips = Field(default_factory=CutClips, description="Whether and how clips become files.")
    sample: SampleFrames = Field(default_factory=SampleFrames, description="Which pictures the model sees.")
    caption: CaptionClips = Field(default_factory=CaptionClips, description="How clips are captioned.")
    merge: MergeCaptions = Field(default_factory=MergeCaptions, description="How captions are joined.")
    summarize: SummarizeFilm = Field(
        default_factory=SummarizeFilm, description="How films are told whose captions are too many for one prompt."
    )
    ask: AskQuestions = Field(default_factory=AskQuestions, description="How the questions are asked for.")
    checks: Checks = Field(default_factory=Checks, description="What is checked, and what is done about faults.")
    reformat: ReformatReasoning = Field(
        default_factory=ReformatReasoning, description="How the reasoning is rewritten."
    )
    storage: Storage = Field(default_factory=Storage, description="How object stores are reached.")
    engine: Engine = Field(default_factory=Engine, description="How the job runs.")

    @model_validator(mode="before")
    @classmethod
    def _as_written_by_hand(cls, given: Any) -> Any:  # noqa: ANN401 - whatever the caller gave
        """Take a single video for a list of one, and a section with nothing in it for one that is left out."""
        if not isinstance(given, Mapping):
            return given
        written = {key: value for key, value in given.items() if value is not None}
        if isinstance(written.get("videos"), str):
            written["videos"] = [written["videos"]]
        return written

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
        path = where
        try:
            given = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise ConfigError(f"{path}{line} is not valid YAML: {error.problem or error.context}.") from None
        except (yaml.YAMLError, ValueError) as error:  # a character or a date that cannot be
            raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
        if not isinstance(given, dict):
            raise ConfigError(f"{path} holds no job: it must be a YAML mapping with videos, output and endpoints.")
        return cls.of(given, overrides, where=path)

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
        for override in overrides:
            _override(merged, override)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(_sentence(error, where)) from None
        except ConfigError as error:  # an endpoint's own words, which never quote what may be a secret
            raise ConfigError(f"{where}: endpoints: {error}") from None

    @property
    def job_hash(self) -> str:
        """Hash of what changes an answer: not the videos, the output folder, speed, limits or prices."""
        content = self.model_dump(mode="json", exclude=HOW)
        content["endpoints"] = {role: _answering(self.endpoints.of(role)) for role in ROLES}
        return _hash(content)

    @property
    def part_hashes(self) -> dict[str, str]:
        """The same by stage, each with the endpoint that it asks: tells which settings two jobs differ in."""
        content = self.model_dump(mode="json", exclude=HOW)
        for stage in (self.caption, self.summarize, self.ask, self.reformat):
            content[stage.name]["endpoint"] = _answering(self.endpoints.of(stage.role))
        for check in (*self.checks.calling, *self.checks.seeing, self.checks.prose):
            content["checks"][check.name]["endpoint"] = _answering(self.endpoints.of(check.role))
        return {stage: _hash(settings) for stage, settings in content.items()}


def _hash(content: Any) -> str:  # noqa: ANN401 - any plain values
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _answering(endpoint: Endpoint) -> dict[str, Any]:
    return endpoint.model_dump(mode="json", include={"base_url", "model", "temperature", "max_tokens", "extra_body"})


def _override(given: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override} is not of the form section.key=value, such as split.max_seconds=20.")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"--set {path}: the value {text} is not valid YAML; quote it.") from None
    section = given
    for key in keys[:-1]:
        inner = section.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {path}: {key} is a value and not a section.")
        section = inner
    section[keys[-1]] = value


def _sentence(error: ValidationError, where: str) -> str:
    """The first mistakes of a pydantic report as one sentence; values of unknown fields are not shown."""
    parts = []
    for detail in error.errors(include_url=False)[:3]:
        place = ".".join(str(part) for part in detail["loc"] if part not in {_ONE, _SEVERAL}) or "the job"
        match detail["type"]:
            case "extra_forbidden" | "unexpected_keyword_argument":
                parts.append(f"{place} is not a known setting")
            case "missing" | "missing_argument":
                parts.append(f"{place} is missing")
            case "value_error":
                parts.append(f"{place}: {detail['msg'].removeprefix('Value error, ')}")
            case _:
                shown = f" (it is {detail['input']!r})" if isinstance(detail["input"], int | float | bool) else ""
                parts.append(f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}{shown}")
    more = f"; and {error.error_count() - 3} more" if error.error_count() > 3 else ""
    return f"{where}: {'; '.join(parts)}{more}. `lvqa schema` lists every setting."
