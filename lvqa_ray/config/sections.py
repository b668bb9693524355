"""The sections of a job that are no stage: endpoints, checks, stores, and how it runs."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.stage import ROLES, CallCheck, Check, Role
from lvqa_ray.stages.checks.blind import CheckBlind
from lvqa_ray.stages.checks.duplicates import CheckDuplicates
from lvqa_ray.stages.checks.evidence import CheckEvidence
from lvqa_ray.stages.checks.grounding import CheckGrounding
from lvqa_ray.stages.checks.judge import CheckJudge
from lvqa_ray.stages.checks.prose import CheckProse
from lvqa_ray.stages.checks.rewrite import RewriteQuestion
from lvqa_ray.stages.checks.shuffle import ShuffleOptions
from lvqa_ray.stages.checks.solve import CheckSolve
from lvqa_ray.stages.checks.structure import CheckStructure


class Section(BaseModel):
    """A part of a job: frozen, and an unknown name in it is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _tag(given: Any) -> str:  # noqa: ANN401 - whatever the caller gave
    return SEVERAL if isinstance(given, list | tuple) else ONE


ONE, SEVERAL = "one", "several"
Replicas = Annotated[
    Annotated[Endpoint, Tag(ONE)] | Annotated[tuple[Endpoint, ...], Field(min_length=1), Tag(SEVERAL)],
    Discriminator(_tag),
]
"""One endpoint, or several that answer alike: more keys, or more servers with the same model."""


class Endpoints(Section):
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

    speech: Replicas | None = Field(
        default=None,
        description="Who writes down what is said (/audio/transcriptions), where no subtitles tell it; one, a list, or "
        "null for nobody.",
    )

    @model_validator(mode="after")
    def _answer_alike(self) -> Self:
        for role in self.roles:
            first, *others = self.replicas(role)
            for other in others:
                if other.answering | {"base_url": first.base_url} != first.answering:
                    raise ValueError(
                        f"the endpoints of {role} must answer alike: the same model, temperature, max_tokens and "
                        "extra_body"
                    )
        return self

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that somebody plays."""
        return tuple(role for role in ROLES if role != "speech" or self.speech is not None)

    def of(self, role: Role) -> Endpoint:
        """The endpoint that names the answers of a role: its first."""
        return self.replicas(role)[0]

    def replicas(self, role: Role) -> tuple[Endpoint, ...]:
        """The endpoints that play a role."""
        given: Endpoint | tuple[Endpoint, ...] = getattr(self, self.section(role))
        return (given,) if isinstance(given, Endpoint) else given

    @property
    def key_variables(self) -> frozenset[str]:
        """Environment variables that hold the keys."""
        every = (at.api_key_env for role in self.roles for at in self.replicas(role))
        return frozenset(name for name in every if name)

    def section(self, role: Role) -> str:
        """The setting that names the endpoints of a role."""
        return "llm" if getattr(self, role) is None else role


class Checks(Section):
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


class Storage(Section):
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


class Engine(Section):
    """How the job runs; nothing here changes an answer."""

    num_cpus: int | None = Field(
        default=None, ge=1, description="CPU cores that a Ray started by this job may use; null for all of the machine."
    )
    video_cpus: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="CPU cores that one decoding task takes."
    )
    parts: int | None = Field(
        default=None,
        ge=1,
        description="scenes mode: parts in which a long video is looked at by several cores at once, which changes no "
        "clip; null for four for each core, where there are more cores than videos; 1 for none.",
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
        description="Worker processes that talk to endpoints, for each phase; null for one in all where no more than "
        "256 requests may be under way, else for one for every 256, started as they are needed.",
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
