"""The section of a job that says how its service is reached, and what it takes on."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import Field, field_validator

from lvqa_ray.config.sections import Section


class Serve(Section):
    """How ``lvqa serve`` is reached and what it takes on; a run does not look at it."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen at; any but that of this machine alone needs a token.",
    )
    port: int = Field(default=8420, ge=0, le=65535, description="Port to listen at; 0 for a free one.")
    token_env: str = Field(
        default="LVQA_TOKEN",
        pattern="[A-Z_][A-Z0-9_]*",
        description="Environment variable with the bearer token that clients have to send; without one, only this "
        "machine is served.",
    )
    models: tuple[str, ...] = Field(
        default=(), description="Models that a request may name besides those of `endpoints`, at the same endpoints."
    )
    allow: tuple[str, ...] = Field(
        default=(),
        description="Folders, and prefixes such as s3://bucket/films/, whose videos a request may name; without any, "
        "only http(s):// addresses.",
    )
    networks: tuple[str, ...] = Field(
        default=(),
        description="Networks such as 10.0.0.0/8 that an address may lead to, besides the public one.",
    )
    max_gb: float = Field(default=4.0, gt=0, allow_inf_nan=False, description="Largest video (GB).")
    max_minutes: float = Field(default=360.0, gt=0, allow_inf_nan=False, description="Longest video (min).")
    at_once: int = Field(default=4, ge=1, description="Analyses at work at once; others wait for their turn.")
    waiting: int = Field(default=64, ge=0, description="Analyses that may wait; more are turned away.")
    kept_days: float = Field(
        default=7.0, gt=0, allow_inf_nan=False, description="How long a result can be read and built on (days)."
    )

    @field_validator("networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)
        return networks
