"""Config section `endpoints`: which model does what, at a URL or served by the run itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator

from lvqa_ray.config.sections import Section
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.stage import ROLES, Role


def _tag(given: object) -> str:
    if isinstance(given, list | tuple):
        return SEVERAL_ENDPOINTS
    is_served = "engine" in given if isinstance(given, Mapping) else isinstance(given, ServedEndpoint)
    return SERVED_ENDPOINT if is_served else ONE_ENDPOINT


ONE_ENDPOINT, SEVERAL_ENDPOINTS, SERVED_ENDPOINT = "one", "several", "served"
TAGS = frozenset({ONE_ENDPOINT, SEVERAL_ENDPOINTS, SERVED_ENDPOINT})
RoleEndpoints = Annotated[
    Annotated[Endpoint, Tag(ONE_ENDPOINT)]
    | Annotated[ServedEndpoint, Tag(SERVED_ENDPOINT)]
    | Annotated[tuple[Endpoint, ...], Field(min_length=1), Tag(SEVERAL_ENDPOINTS)],
    Discriminator(_tag),
]
"""One endpoint, or several: further keys or servers with the same model and settings. Or a model that the run
serves, which is chosen by its key ``engine``."""


class Endpoints(Section):
    """The endpoints of each role.

    A role may have several endpoints. Cache keys and the job hash use only the first one, so others can be added and
    removed without new requests. A request goes to the endpoint with free capacity.
    """

    vlm: RoleEndpoints = Field(
        description="The vision model that captions clips: one endpoint, or a list of endpoints with the same model."
    )
    llm: RoleEndpoints = Field(description="The language model that writes questions: one endpoint, or a list.")
    reformat: RoleEndpoints | None = Field(
        default=None,
        description="The language model that rewrites the reasoning: one endpoint, a list, or null for llm.",
    )
    checker: RoleEndpoints | None = Field(
        default=None,
        description="The language model of the checks, which may be a cheaper one: one endpoint, a list, or null "
        "for llm.",
    )

    watcher: RoleEndpoints | None = Field(
        default=None,
        description="The vision model that answers questions from the video (checks.watch), for example one that "
        "thinks: one endpoint, a list, or null for vlm.",
    )
    speech: RoleEndpoints | None = Field(
        default=None,
        description="Speech-to-text endpoint (/audio/transcriptions), used for videos without subtitles: one "
        "endpoint, a list, or null for none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _served_alone(cls, given: object) -> object:
        for role, value in given.items() if isinstance(given, Mapping) else ():
            several = value if isinstance(value, list | tuple) else ()
            if any(
                isinstance(each, ServedEndpoint) or (isinstance(each, Mapping) and "engine" in each) for each in several
            ):
                raise ValueError(f"{role}: a model that the run serves is no list: set its replicas instead")
        return given

    @model_validator(mode="after")
    def _answer_alike(self) -> Self:
        for role in self.roles:
            first, *others = self.endpoints_of(role)
            for other in others:
                if other.answering | {"base_url": first.base_url} != first.answering:
                    raise ValueError(
                        f"the endpoints of {role} must answer alike: the same model, temperature, max_tokens and "
                        "extra_body"
                    )
            if others and any(at.tier == "batch" for at in (first, *others)):
                raise ValueError(f"{role}: a role with tier batch has one endpoint, not a list")
        if self.speech is not None and any(at.tier != "standard" for at in self.endpoints_of("speech")):
            raise ValueError("speech: speech-to-text has no tiers; remove tier")
        if isinstance(self.speech, ServedEndpoint):
            raise ValueError("speech: speech-to-text needs an endpoint with a base_url, or speech.whisper_model")
        return self

    @model_validator(mode="after")
    def _one_price_each(self) -> Self:
        served = self.served
        for role in self.roles:
            for at in self.endpoints_of(role):
                if isinstance(at, ServedEndpoint) and at.price_gpu_hour != served[at.digest].price_gpu_hour:
                    raise ValueError(
                        f"{role}: {at.label} is served once for several roles: give it the same price_gpu_hour in each"
                    )
        return self

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that have an endpoint."""
        return tuple(role for role in ROLES if role != "speech" or self.speech is not None)

    def of(self, role: Role) -> Endpoint:
        """The first endpoint of a role, which is part of its cache keys."""
        return self.endpoints_of(role)[0]

    def endpoints_of(self, role: Role) -> tuple[Endpoint, ...]:
        """The endpoints of a role, at least one."""
        given: Endpoint | tuple[Endpoint, ...] = getattr(self, self.section(role))
        return (given,) if isinstance(given, Endpoint) else given

    @property
    def served(self) -> dict[str, ServedEndpoint]:
        """The models that the run serves, by digest: roles with equal settings share one."""
        every = (at for role in self.roles for at in self.endpoints_of(role) if isinstance(at, ServedEndpoint))
        found: dict[str, ServedEndpoint] = {}
        for at in every:
            found.setdefault(at.digest, at)
        return found

    def running_at(self, addresses: Mapping[str, tuple[str, int]]) -> Self:
        """A copy with the addresses of the models that the run serves.

        Args:
            addresses: Base URL and number of replicas, by digest.
        """
        given = {name: getattr(self, name) for name in type(self).model_fields}
        running = {
            name: at.with_address(addresses[at.digest][0], replicas=addresses[at.digest][1])
            for name, at in given.items()
            if isinstance(at, ServedEndpoint)
        }
        return self.model_copy(update=running)

    @property
    def key_variables(self) -> frozenset[str]:
        """Names of the environment variables with the keys."""
        every = (at.api_key_env for role in self.roles for at in self.endpoints_of(role))
        return frozenset(name for name in every if name)

    def section(self, role: Role) -> str:
        """The field with the endpoints of a role; if its own is not set, ``vlm`` for the watcher, else ``llm``."""
        if getattr(self, role) is not None:
            return role
        return "vlm" if role == "watcher" else "llm"
