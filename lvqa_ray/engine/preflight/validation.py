"""What can be found out before the first paid call: keys, URLs, model names, prompts, a writable output."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine, Mapping, Sequence

import pyarrow.compute as pc
from pydantic import SecretStr

from lvqa_ray.config import Job
from lvqa_ray.config.places import storage_options
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.engine.preflight.readiness import Readiness, readiness
from lvqa_ray.engine.preflight.trials import smallest
from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.llm.pricing import cost_usd, sound_usd
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.stage import Role
from lvqa_ray.stages.caption import own_prompt
from lvqa_ray.storage.paths import ObjectPath, StoragePath
from lvqa_ray.video.audio.whisper import why_not

logger = logging.getLogger(__name__)


def check_prompts(job: Job, videos: Videos) -> None:
    """Refuse a corpus that brings along a prompt with a placeholder that nothing fills.

    Raises:
        ConfigError: Names the video and the placeholder.
    """
    for video in videos.talked_about:
        if prompt := own_prompt(video):
            try:
                job.caption.check(prompt)
            except ValueError as error:
                raise ConfigError(f"the conversation of video {video.id}: {error}.") from None


def check_output(folder: StoragePath) -> None:
    """Make the output folder and those in it, and refuse one that cannot be written.

    Raises:
        ConfigError: Says what the operating system says.
    """
    inside = [] if isinstance(folder, ObjectPath) else [folder / name for name in ("cache", *SCHEMAS)]
    for place in (folder, *inside):
        probe = place / f".writable-{uuid.uuid4().hex[:8]}"
        try:
            place.is_dir()  # a store may make the bucket of a mistyped name where something is written
            place.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise ConfigError(f"the output folder {place} cannot be written: {error.strerror}.") from None


def check_prices(job: Job) -> None:
    """Refuse a limit in dollars where a price is not known: it would never be reached.

    Raises:
        ConfigError: Names the endpoint, and the settings that mend it.
    """
    for role in job.endpoints.roles if job.engine.max_cost is not None else ():
        for at in job.endpoints.replicas(role):
            if role == "speech":
                if sound_usd(at, 60.0) is None:
                    raise ConfigError(
                        f"engine.max_cost is set, and no price is known for {at.label}: set "
                        "endpoints.speech.price_minute, in dollars per minute of sound."
                    )
            elif cost_usd(at.model, at.base_url, 1, 1, (at.price_in, at.price_out)) is None:
                section = job.endpoints.section(role)
                raise ConfigError(
                    f"engine.max_cost is set, and no price is known for {at.label}: set endpoints.{section}.price_in "
                    f"and endpoints.{section}.price_out, in dollars per million tokens."
                )


def check_whisper(job: Job) -> None:
    """Refuse a model for speech that cannot be used here; what other nodes have is seen there.

    Raises:
        ConfigError: Says what is missing, and the mend.
    """
    if job.speech.whisper_model and "whisper" in job.speech.sources and (why := why_not(job.speech.whisper_model)):
        raise ConfigError(why)


def check_addresses(job: Job, videos: Videos) -> None:
    """Refuse proxy and certificate variables that could not be used for the videos.

    Raises:
        ConfigError: Names the variable.
    """
    remote = videos.places.filter(pc.match_substring(videos.places, "://"))
    origins = pc.unique(pc.struct_field(pc.extract_regex(remote, r"^(?P<origin>[A-Za-z0-9]+://[^/]*)"), "origin"))
    access = storage_options(job.storage)
    try:
        for origin in filter(None, origins.to_pylist()):
            access.check(origin)
    except FetchError as error:
        raise ConfigError(str(error)) from None


def check_endpoints(job: Job, *, ask: bool = True) -> Mapping[Role, Sequence[SecretStr]]:
    """Find out whether every endpoint knows its key and its model, and log a warning about each that is in doubt.

    Args:
        job: The job.
        ask: Send an endpoint one small request where its list of models leaves a doubt.

    Returns:
        The key of every endpoint of every role, in the order of the job.

    Raises:
        ConfigError: A key's variable is not set, or no request to an endpoint could succeed.
    """
    keys = {role: [at.api_key() for at in job.endpoints.replicas(role)] for role in job.endpoints.roles}
    distinct: dict[tuple[str, str, str], Coroutine[None, None, Readiness]] = {}
    for role in job.endpoints.roles:
        for at, key in zip(job.endpoints.replicas(role), keys[role], strict=True):
            name = (at.base_url, key.get_secret_value(), at.model)
            if name not in distinct:
                request = smallest(job, role) if ask else None
                distinct[name] = readiness(at, key, request, sound=role == "speech")
    for found in asyncio.run(_all(list(distinct.values()))):
        if found.warning:
            logger.warning("%s", found.warning)
    return keys


async def _all(looks: Sequence[Coroutine[None, None, Readiness]]) -> list[Readiness]:
    return await asyncio.gather(*looks)
