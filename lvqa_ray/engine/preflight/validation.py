"""Preflight validation before the first paid call: keys, URLs, models, prompts, prices, writable output."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from pydantic import SecretStr

from lvqa_ray.config import Job
from lvqa_ray.config.places import storage_options
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.llm.engines.engine_args import check_engine_args
from lvqa_ray.llm.pricing import rates_of, sound_usd
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.stage import Role
from lvqa_ray.stages.caption import own_prompt
from lvqa_ray.stages.checks.overlap import read_benchmark
from lvqa_ray.storage.paths import ObjectPath, StoragePath
from lvqa_ray.video.audio.whisper import why_not

if TYPE_CHECKING:
    from lvqa_ray.engine.preflight.readiness import Readiness

logger = logging.getLogger(__name__)


def check_prompts(job: Job, videos: Videos) -> None:
    """Refuse a corpus with a prompt that has an unknown placeholder.

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
    """Create the output folder with its subfolders, and refuse one that is not writable.

    Raises:
        ConfigError: Gives the error of the operating system.
    """
    inside = [] if isinstance(folder, ObjectPath) else [folder / name for name in ("cache", *SCHEMAS)]
    for place in (folder, *inside):
        probe = place / f".writable-{uuid.uuid4().hex[:8]}"
        try:
            place.is_dir()  # fails on a missing bucket, which a write might create
            place.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"the output folder {place} is not writable: {error.strerror}. Check its path and permissions."
            ) from None


def check_prices(job: Job) -> None:
    """Refuse ``engine.max_cost`` if a price is unknown: the limit would never be reached.

    Raises:
        ConfigError: Names the endpoint, and the settings to add.
    """
    for role in job.endpoints.roles if job.engine.max_cost is not None else ():
        for at in job.endpoints.endpoints_of(role):
            if at.is_served and rates_of(at) is None:
                raise ConfigError(
                    f"engine.max_cost is set, but no price is known for {at.label}: set "
                    f"endpoints.{job.endpoints.section(role)}.price_gpu_hour, in dollars per GPU and hour."
                )
            if role == "speech":
                if sound_usd(at, 60.0) is None:
                    raise ConfigError(
                        f"engine.max_cost is set, but no price is known for {at.label}: set "
                        "endpoints.speech.price_minute, in dollars per minute of audio."
                    )
            elif rates_of(at, tier=at.tier) is None:
                section = job.endpoints.section(role)
                tier = "" if at.tier == "standard" else f" on tier {at.tier}"
                raise ConfigError(
                    f"engine.max_cost is set, but no price is known for {at.label}{tier}: set "
                    f"endpoints.{section}.price_in and endpoints.{section}.price_out, in dollars per million tokens."
                )


def check_models(job: Job) -> None:
    """Refuse models that the run cannot serve, as far as this machine can tell: nodes check their engines themselves.

    Raises:
        ConfigError: Says what is missing or wrong, and the fix.
    """
    if not job.endpoints.served:
        return
    if find_spec("fastapi") is None or find_spec("ray.serve.api") is None:
        raise ConfigError("serving a model in the run needs more packages: run pip install 'lvqa-ray[serve]'.")
    for at in job.endpoints.served.values():
        if why := check_engine_args(at):
            raise ConfigError(why)


def check_whisper(job: Job) -> None:
    """Refuse a Whisper model that is unusable on this node; other nodes check theirs themselves.

    Raises:
        ConfigError: Says what is missing, and the fix.
    """
    if job.speech.whisper_model and "whisper" in job.speech.sources and (why := why_not(job.speech.whisper_model)):
        raise ConfigError(why)


def check_benchmarks(job: Job, videos: Videos) -> None:
    """Read the benchmark files of ``checks.overlap``; logs a warning if a benchmark contains videos of the job.

    Raises:
        ConfigError: A file cannot be read, or lists nothing.
    """
    check = job.checks.overlap
    for path in check.against if check.policy != "off" else ():
        benchmark = read_benchmark(path)
        found = [video.id for video in videos if benchmark.video_match(video)]
        if found:
            logger.warning(
                "%s contains %d of the videos, such as %s: their questions will be %s. Leave them out to save cost.",
                benchmark.name,
                len(found),
                found[0],
                "dropped" if check.policy == "drop" else "marked",
            )


def check_addresses(job: Job, videos: Videos) -> None:
    """Refuse proxy and certificate variables that are unusable for downloads of the videos.

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
    """Check that every endpoint accepts its key and has its model; logs a warning for each doubtful one.

    Args:
        job: The job.
        ask: Send one small request if the list of models leaves a doubt.

    Returns:
        The key of every endpoint of every role, in the order of the job.

    Raises:
        ConfigError: The variable of a key is not set, or no request to an endpoint could succeed.
    """
    # A run with nothing to do loads no client.
    from lvqa_ray.engine.preflight.readiness import readiness  # noqa: PLC0415
    from lvqa_ray.engine.preflight.trials import smallest  # noqa: PLC0415

    keys = {role: [at.api_key() for at in job.endpoints.endpoints_of(role)] for role in job.endpoints.roles}
    distinct: dict[tuple[str, ...], Coroutine[None, None, Readiness]] = {}
    for role in job.endpoints.roles:
        for at, key in zip(job.endpoints.endpoints_of(role), keys[role], strict=True):
            if at.is_served:  # it answers a request when it is started, before anything is decoded
                continue
            name = (at.base_url, key.get_secret_value(), at.model, at.tier)
            if name not in distinct:
                request = smallest(job, role) if ask else None
                distinct[name] = readiness(at, key, request, sound=role == "speech")
    for found in asyncio.run(_all(list(distinct.values()))):
        if found.warning:
            logger.warning("%s", found.warning)
    return keys


async def _all(checks: Sequence[Coroutine[None, None, Readiness]]) -> list[Readiness]:
    return await asyncio.gather(*checks)
