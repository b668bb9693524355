"""Config section ``serve``: address, access and limits of ``lvqa serve``."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import Field, field_validator

from lvqa_ray.config.sections import Section


class Serve(Section):
    """Address, access and limits of ``lvqa serve``; a run ignores them."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; any other than that of this machine requires a token.",
    )
    port: int = Field(default=8420, ge=0, le=65535, description="Port to listen on; 0 selects a free one.")
    token_env: str = Field(
        default="LVQA_TOKEN",
        pattern="[A-Z_][A-Z0-9_]*",
        description="Environment variable with the bearer token that clients must send. Without a token, only "
        "this machine is served.",
    )
    models: tuple[str, ...] = Field(
        default=(), description="Models that a request may name besides those of `endpoints`, at the same endpoints."
    )
    allow: tuple[str, ...] = Field(
        default=(),
        description="Folders, and prefixes such as s3://bucket/films/, whose videos a request may name; empty for "
        "only http(s):// addresses.",
    )
    networks: tuple[str, ...] = Field(
        default=(),
        description="Networks, such as 10.0.0.0/8, that an address may resolve to besides the public network.",
    )
    max_gb: float = Field(default=4.0, gt=0, allow_inf_nan=False, description="Maximum size of a video (GB).")
    max_minutes: float = Field(
        default=360.0, gt=0, allow_inf_nan=False, description="Maximum length of a video (minutes)."
    )
    at_once: int = Field(default=4, ge=1, description="Maximum number of analyses in parallel.")
    waiting: int = Field(default=64, ge=0, description="Maximum number of waiting analyses; more are rejected.")
    kept_days: float = Field(
        default=7.0, gt=0, allow_inf_nan=False, description="How long a result can be read and reused (days)."
    )

    @field_validator("networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)
        return networks
