"""Config sections of a job besides the stages and endpoints: checks, storage, engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from lvqa_ray.config.installed import check_class, installed_checks
from lvqa_ray.plugins import installed
from lvqa_ray.stage import CallCheck, Check, PolicyMixin, Prompted, SeeingCheck
from lvqa_ray.stages.checks.blind import CheckBlind
from lvqa_ray.stages.checks.duplicates import CheckDuplicates
from lvqa_ray.stages.checks.evidence import CheckEvidence
from lvqa_ray.stages.checks.grounding import CheckGrounding
from lvqa_ray.stages.checks.hops import CheckHops
from lvqa_ray.stages.checks.judge import CheckJudge
from lvqa_ray.stages.checks.overlap import CheckOverlap
from lvqa_ray.stages.checks.prose import CheckProse
from lvqa_ray.stages.checks.rewrite import RewriteQuestion
from lvqa_ray.stages.checks.shuffle import ShuffleOptions
from lvqa_ray.stages.checks.solve import CheckSolve, CheckUnaided
from lvqa_ray.stages.checks.structure import CheckStructure
from lvqa_ray.stages.checks.watch import CheckWatch


class Section(BaseModel):
    """Base of config sections: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Checks(Section):
    """The checks of every question, in order, and the action on a fault.

    To add a check, add one field: its base class (Check, CallCheck, SeeingCheck) decides whether it calls a model. A
    check of an installed package has its settings under its name, and runs only if the job names it.
    """

    model_config = ConfigDict(extra="allow")

    structure: CheckStructure = Field(
        default_factory=CheckStructure, description="Form of the question, its options and its key."
    )
    grounding: CheckGrounding = Field(default_factory=CheckGrounding, description="Time spans cited in the reasoning.")
    duplicates: CheckDuplicates = Field(
        default_factory=CheckDuplicates,
        description="Questions that repeat another one, of the same video or of the corpus.",
    )
    overlap: CheckOverlap = Field(
        default_factory=CheckOverlap, description="Questions and videos that a benchmark contains."
    )
    shuffle: ShuffleOptions = Field(default_factory=ShuffleOptions, description="Shuffles the options.")

    blind: CheckBlind = Field(
        default_factory=CheckBlind, description="Questions that can be guessed without the video."
    )
    solve: CheckSolve = Field(
        default_factory=CheckSolve, description="Questions whose key does not follow from the captions."
    )
    unaided: CheckUnaided = Field(
        default_factory=CheckUnaided, description="Answers from parts of a long video that are chosen without the key."
    )
    hops: CheckHops = Field(
        default_factory=CheckHops, description="Questions that do not need several moments of the video."
    )
    judge: CheckJudge = Field(default_factory=CheckJudge, description="Faults of a rubric, judged in one call.")
    evidence: CheckEvidence = Field(
        default_factory=CheckEvidence, description="Claims that the frames of their time spans do not support."
    )
    watch: CheckWatch = Field(
        default_factory=CheckWatch,
        description="Questions whose key does not follow from the video; keeps the reasoning of each attempt.",
    )
    prose: CheckProse = Field(
        default_factory=CheckProse, description="Rewritten reasoning that does not reach the key, or changes facts."
    )
    rewrite: RewriteQuestion = Field(
        default_factory=RewriteQuestion, description="How a question is rewritten by checks with policy repair."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_packages(cls, given: object) -> object:
        """Create the plugin checks from their settings."""
        if not isinstance(given, Mapping):
            return given
        plugins = {name: given[name] for name in given if name not in cls.model_fields}
        return {**given, **installed_checks(plugins, cls.model_fields)} if plugins else given

    @property
    def wanted(self) -> tuple[Check, ...]:
        """The enabled checks without model calls, in order: those of the fields, then plugins."""
        return tuple(check for check in self._on if isinstance(check, Check))

    @property
    def calling(self) -> tuple[CallCheck, ...]:
        """The enabled checks with model calls, in order, without those that see frames."""
        return tuple(check for check in self._on if isinstance(check, CallCheck) and not isinstance(check, SeeingCheck))

    @property
    def seeing(self) -> tuple[SeeingCheck, ...]:
        """The enabled checks that see frames; they run after all others."""
        return tuple(check for check in self._on if isinstance(check, SeeingCheck))

    def asking(self, reformat: Prompted) -> tuple[Prompted, ...]:
        """All stages that call a model about written questions, in order.

        Args:
            reformat: The stage that rewrites the reasoning; it runs before the check of the prose.
        """
        asks = (*self.calling, *self.seeing)
        rewrite = (self.rewrite,) if any(check.policy == "repair" for check in asks) else ()
        return (*asks, *rewrite, reformat, *(() if self.prose.policy == "off" else (self.prose,)))

    @property
    def _on(self) -> Iterator[PolicyMixin]:
        for _, check in self:
            if isinstance(check, CheckOverlap) and not check.against:
                continue
            if isinstance(check, PolicyMixin) and check.policy != "off":
                yield check.counting if isinstance(check, CheckHops) and not check.probes else check

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with the installed plugin checks, and no other additional fields."""
        schema = handler(core)
        section = handler.resolve_ref_schema(schema)
        for name in installed("checks"):
            section["properties"].setdefault(name, handler(TypeAdapter(check_class(name)).core_schema))
        section["additionalProperties"] = False
        return schema


class Storage(Section):
    """Options of object stores. Keys come from the environment, a profile or the machine's role, never from here.

    Fields that are not set follow AWS's own variables and files.
    """

    endpoint_url: str | None = Field(default=None, description="URL of an S3 server other than AWS.")
    region: str | None = Field(default=None, description="Region of the buckets.")
    path_style: bool | None = Field(
        default=None,
        description="Put the bucket into the path of the URL instead of the host name; null for automatic.",
    )
    anonymous: bool = Field(default=False, description="Do not sign requests, for public buckets.")
    profile: str | None = Field(default=None, description="Profile of the AWS configuration whose credentials to use.")

    @field_validator("endpoint_url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        if url is not None and (not url.startswith(("http://", "https://")) or "@" in url):
            raise ValueError("it must begin with http:// or https:// and hold no name or password")
        return url


class Engine(Section):
    """How the job runs; no field changes a reply."""

    executor: Literal["auto", "ray", "local"] = Field(
        default="auto",
        description="What executes a run. ray: Ray, on this machine or a cluster. local: the command itself with its "
        "decoding processes, which saves starting Ray. auto: local for small runs (at most 100 videos, 512 MiB in "
        "total and 256 requests in flight) if RAY_ADDRESS is not set.",
    )
    num_cpus: int | None = Field(
        default=None,
        ge=1,
        description="CPU cores that a run uses on this machine, of a Ray that it starts or without Ray; null for all.",
    )
    video_cpus: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="CPU cores that one decoding task reserves."
    )
    parts: int | None = Field(
        default=None,
        ge=1,
        description="scenes mode: number of parts of a long video that are read in parallel; the clips are the "
        "same. null for four per core if there are more cores than videos; 1 for none.",
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
        description="Worker processes that call endpoints, per phase; null for a single one if at most 256 requests "
        "may be in flight in total, otherwise one per 256 requests, started as needed.",
    )
    rows_per_shard: int = Field(default=20_000, ge=1, description="Rows per Parquet file.")
    passes: int = Field(
        default=3,
        ge=1,
        description="How often a video is tried if its worker dies, before it fails.",
    )
    max_cost: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Maximum cost of one run (US dollars), with the GPU hours of served models; the run then stops and "
        "can be resumed. null for no limit.",
    )
    max_requests: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of requests of one run, counting each attempt; the run then stops and can be "
        "resumed. null for no limit.",
    )
    retry_failures: bool = Field(
        default=False,
        description="Process all failed videos again, and request replies again that were refused, filtered or "
        "cut off.",
    )
    scratch_dir: str = Field(
        default="",
        description="Folder of the download cache on each node; empty for one in the node's temporary folder.",
    )
    scratch_gb: float = Field(
        default=50.0,
        gt=0,
        allow_inf_nan=False,
        description="Maximum size of a node's download cache (GB); a larger video fails.",
    )
    decode_still_s: float = Field(
        default=120.0,
        gt=0,
        allow_inf_nan=False,
        description="Stall timeout: a video fails if decoding makes no progress for this long (s).",
    )
    decode_slowest: float = Field(
        default=30.0,
        gt=0,
        allow_inf_nan=False,
        description="Time limit of one decoding step, as a multiple of the video's length.",
    )
    decode_memory_gb: float = Field(
        default=4.0, ge=0.25, allow_inf_nan=False, description="Memory limit of one decoding process (GB)."
    )
