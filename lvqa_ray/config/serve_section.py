"""Config section ``serve``: address, access and limits of ``lvqa serve``."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Literal
from urllib.parse import urlsplit

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
    access_keys_env: str = Field(
        default="LVQA_ACCESS_KEYS",
        pattern="[A-Z_][A-Z0-9_]*",
        description="Environment variable with access keys that clients may sign with (ACS3-HMAC-SHA256), instead of "
        "sending the token: id:secret, several separated by commas.",
    )
    access_keys_file: str = Field(
        default="", description="File with such access keys, one id,secret per line; empty for none."
    )
    public_url: str = Field(
        default="",
        description="URL of the reverse proxy in front of the service, such as https://video.example.com; pages of "
        "that origin may send requests. Requires a token or access keys.",
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
    detached: Literal["stop", "finish"] = Field(
        default="stop",
        description="What happens to an analysis when the client of its event stream disconnects: stop, or finish.",
    )
    downloads: int = Field(
        default=16, ge=1, description="Maximum number of videos that are downloaded in parallel; others wait."
    )
    download_minutes: float = Field(
        default=30.0, gt=0, allow_inf_nan=False, description="Maximum time for the download of a video (minutes)."
    )
    shots_as: Literal["list", "text", "both"] = Field(
        default="list",
        description="RunVideoAnalysis: whether shots are sent as videoShotAnalysisResults (list), as the text of "
        "videoAnalysisResult, or twice.",
    )
    titles: int = Field(default=1, ge=1, le=20, description="Number of titles that a client of RunVideoAnalysis gets.")
    kept_days: float = Field(
        default=7.0, gt=0, allow_inf_nan=False, description="How long a result can be read and reused (days)."
    )

    @field_validator("public_url")
    @classmethod
    def _http(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("has to begin with https:// or http:// and name a host, or be empty")
        return url.rstrip("/")

    @field_validator("networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)
        return networks
