"""Trial requests: small requests with the parameters, media and reply format of those that a run sends.

The stage that sends the real requests builds them, so both always agree on temperature, token limit, system message and
reply format.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lvqa_ray.config import Job
from lvqa_ray.llm.messages import ChatRequest, Media, ReplySchema, Text
from lvqa_ray.qa.formats.reply_format import JSON
from lvqa_ray.records.sound import Sound
from lvqa_ray.stage import Prompted, Role
from lvqa_ray.stages.transcribe import TranscribeSpeech
from lvqa_ray.video.audio.pcm import MIMES, tone
from lvqa_ray.video.frames.test_pattern import test_jpeg, test_mp4

YES = ReplySchema(
    name="answer",
    schema={
        "type": "object",
        "properties": {"answer": {"type": "string"}},
        "required": ["answer"],
        "additionalProperties": False,
    },
)
COLOUR = Text(text="What colour is this? One word.")
SAY_YES = Text(text="Reply with the word yes.")


@dataclass(frozen=True, slots=True)
class Trial:
    """A request that tests whether an endpoint accepts one kind of request of a job.

    Attributes:
        what: The tested feature, in a few words.
        request: The request.
        needed: Whether a run needs the feature.
    """

    what: str
    request: ChatRequest
    needed: bool = True


def stages_of(job: Job, role: Role) -> tuple[Prompted, ...]:
    """The stages of a job that use the endpoint of a role, also those of other roles that share it."""
    section = job.endpoints.section
    return tuple(stage for stage in job.asking if section(stage.role) == section(role))


def smallest(job: Job, role: Role) -> ChatRequest:
    """The cheapest request that tests the model and the key of an endpoint: a few words, no images."""
    if role == "speech":
        return _tone(job).request
    stages = stages_of(job, role)
    return (stages[0] if stages else job.ask).asks(SAY_YES)


def trials(job: Job, role: Role) -> Iterator[Trial]:
    """One request of each kind that a run sends to the endpoint of a role."""
    if role == "speech":
        yield _tone(job)
        return
    stages = stages_of(job, role)
    if role == "vlm":
        yield from _seen(job)
    elif role == "watcher":
        yield from _looked_at(job, role, 0)
    else:
        yield Trial("answers", smallest(job, role))
    known = {_parameters(job, stage) for stage in (stages[:1] if role != "vlm" else (job.caption,))}
    stages = tuple(stage for stage in stages if stage not in (job.caption, *job.checks.seeing))
    for stage in stages:
        if (parameters := _parameters(job, stage)) not in known:
            known.add(parameters)
            yield Trial(f"answers requests of {stage.name}", stage.asks(SAY_YES))
    if job.endpoints.section(role) == job.endpoints.section(job.ask.role):
        if job.ask.frames:
            yield _pictures(job, job.ask, job.ask.frames)
        yield _schema(job)


def _seen(job: Job) -> Iterator[Trial]:
    """Trials of the vision model: the clip or the frames of a caption, and the frames of checks."""
    tried = 0
    if job.caption.media == "video":
        clip = Media(identity="check", mime="video/mp4", data=test_mp4(job.cut.short_side or job.sample.short_side))
        yield Trial("accepts a video", job.caption.asks(COLOUR, clip))
    else:
        tried = job.sample.count if job.sample.per_second is None else 1
        yield _pictures(job, job.caption, tried)
    yield from _looked_at(job, "vlm", tried)


def _looked_at(job: Job, role: Role, tried: int) -> Iterator[Trial]:
    """Trials of the checks that send frames to the endpoint of a role, to which some images were sent already."""
    section = job.endpoints.section
    for check in job.checks.seeing:
        if section(check.role) != section(role):
            continue
        if check.frames > tried or _parameters(job, check) != _parameters(job, job.caption):
            yield _pictures(job, check, check.frames)


def _pictures(job: Job, stage: Prompted, count: int) -> Trial:
    """A trial with images, in the number and size that the job sends."""
    side = job.sample.short_side
    picture = Media(identity="check", mime="image/jpeg", data=test_jpeg(side, job.sample.quality))
    return Trial(f"accepts {count} images of {side} px", stage.asks(COLOUR, *[picture] * count))


def _schema(job: Job) -> Trial:
    """A trial with a reply schema: the job's own if it uses one. A run falls back to text if it is refused."""
    own = JSON.one.schema if job.ask.reply_format == "json_schema" else None
    text = "Fill all fields with the word yes." if own else 'Reply with the JSON object {"answer": "yes"}.'
    return Trial("accepts a JSON schema", replace(job.ask.asks(Text(text=text)), reply_schema=own or YES), needed=False)


def _tone(job: Job) -> Trial:
    """A trial with one second of audio."""
    form = job.speech.audio
    sound = Sound(start_ms=0, end_ms=1000, mime=MIMES[form], identity="check", data=tone(form))
    return Trial(f"accepts audio ({form})", TranscribeSpeech().request(sound))


def _parameters(job: Job, stage: Prompted) -> str:
    """The parameters of a stage's requests, and whether they have a system message."""
    request = stage.asks()
    fields = job.endpoints.of(stage.role).sampling(request)
    return json.dumps([fields, bool(stage.system)], sort_keys=True)
