"""What can be found out before the first paid call: keys, URLs, model names, prompts, a writable output."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from lvqa_ray.config import Job
from lvqa_ray.engine.place import ObjectPath, Place
from lvqa_ray.engine.videos import Videos
from lvqa_ray.errors import ApiError, BadRequest, ConfigError, MalformedReply, NotFound, Overloaded
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.pricing import cost_usd, sound_usd
from lvqa_ray.llm.transport import OpenAITransport
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.stage import Role
from lvqa_ray.stages.caption import own_prompt
from lvqa_ray.video.whisper import why_not

ANSWER_WITHIN_S = 30.0


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


def check_output(folder: Place) -> None:
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


def check_endpoints(job: Job) -> Mapping[Role, Sequence[SecretStr]]:
    """Ask every endpoint for its list of models, which costs nothing.

    Returns:
        The key of every endpoint of every role, in the order of the job.

    Raises:
        ConfigError: A key's variable is not set, or an endpoint is out of reach, refuses the key or lacks the model.
    """
    keys = {role: [at.api_key() for at in job.endpoints.replicas(role)] for role in job.endpoints.roles}
    distinct = {
        (at.base_url, key.get_secret_value(), at.model): (at, key)
        for role in job.endpoints.roles
        for at, key in zip(job.endpoints.replicas(role), keys[role], strict=True)
    }
    asyncio.run(_ask_all(list(distinct.values())))
    return keys


async def _ask_all(endpoints: Sequence[tuple[Endpoint, SecretStr]]) -> None:
    await asyncio.gather(*(models_of(endpoint, key) for endpoint, key in endpoints))


async def models_of(endpoint: Endpoint, key: SecretStr) -> str:
    """Ask one endpoint for its list of models; says in a sentence what came of it.

    Raises:
        ConfigError: It is out of reach, refuses the key or lacks the model.
    """
    wire = OpenAITransport(endpoint, key)
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            models = await wire.list_models()
    except (NotFound, BadRequest, MalformedReply, Overloaded):
        return "Gives no list of models: the first call will tell."
    except ApiError as error:
        raise ConfigError(f"{endpoint.label}: {error}") from None
    except TimeoutError:
        raise ConfigError(f"{endpoint.label} gives no answer within {ANSWER_WITHIN_S:.0f} s.") from None
    finally:
        await wire.aclose()
    # Gemini lists "models/x" for what is asked for as "x".
    offered = {name.removeprefix("models/") for name in models}
    if offered and endpoint.model.removeprefix("models/") not in offered:
        some = ", ".join(sorted(offered)[:5]) + (", ..." if len(offered) > 5 else "")
        raise ConfigError(f"{endpoint.base_url} has no model {endpoint.model}; it offers {some}.")
    return f"Answers, and has {endpoint.model}." if offered else "Answers."
