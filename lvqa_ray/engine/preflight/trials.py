"""Trial requests: small ones with the parameters, media and reply format of the requests that a job's run sends.

Each is built by the stage that sends the real ones, so a trial and a run cannot disagree about temperature, token
limit, system message or form.
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
    """A request that shows whether an endpoint takes what a job sends.

    Attributes:
        what: What is tried, in a few words.
        request: The request.
        needed: Whether a run cannot do without it.
    """

    what: str
    request: ChatRequest
    needed: bool = True


def stages_of(job: Job, role: Role) -> tuple[Prompted, ...]:
    """The stages of a job that ask the endpoint of a role, roles included that it plays in another's place."""
    checks = job.checks
    every: list[Prompted] = [job.caption]
    if job.ask.wanted:
        calling = (*checks.calling, *checks.seeing)
        every += [job.ask, *calling]
        every += [checks.rewrite] if any(check.policy == "repair" for check in calling) else []
        every += [job.reformat, *([checks.prose] if checks.prose.policy != "off" else [])]
    every += [*job.analysis.stages, job.summarize]
    played_by = job.endpoints.section
    return tuple(stage for stage in every if played_by(stage.role) == played_by(role))


def smallest(job: Job, role: Role) -> ChatRequest:
    """The cheapest request that shows whether an endpoint knows its model and its key: a few words, no pictures."""
    if role == "speech":
        return _tone(job).request
    stages = stages_of(job, role)
    return (stages[0] if stages else job.ask).asks(SAY_YES)


def trials(job: Job, role: Role) -> Iterator[Trial]:
    """Requests of each kind that a run sends to the endpoint of a role."""
    if role == "speech":
        yield _tone(job)
        return
    stages = stages_of(job, role)
    if role == "vlm":
        yield from _seen(job)
        stages = tuple(stage for stage in stages if stage not in (job.caption, *job.checks.seeing))
    else:
        yield Trial("answers", smallest(job, role))
    known = {_parameters(job, stage) for stage in (stages[:1] if role != "vlm" else (job.caption,))}
    for stage in stages:
        if (parameters := _parameters(job, stage)) not in known:
            known.add(parameters)
            yield Trial(f"answers as {stage.name} asks", stage.asks(SAY_YES))
    if job.endpoints.section(role) == job.endpoints.section(job.ask.role):
        if job.ask.frames:
            yield _pictures(job, job.ask, job.ask.frames)
        yield _schema(job)


def _seen(job: Job) -> Iterator[Trial]:
    """What the vision model is shown: the clip or the frames of a caption, and the frames of a check."""
    tried = 0
    if job.caption.media == "video":
        clip = Media(identity="check", mime="video/mp4", data=test_mp4(job.cut.short_side or job.sample.short_side))
        yield Trial("takes a video", job.caption.asks(COLOUR, clip))
    else:
        tried = job.sample.count if job.sample.per_second is None else 1
        yield _pictures(job, job.caption, tried)
    for check in job.checks.seeing:
        if check.frames > tried or _parameters(job, check) != _parameters(job, job.caption):
            yield _pictures(job, check, check.frames)


def _pictures(job: Job, stage: Prompted, count: int) -> Trial:
    """So many pictures of the size that the job shows."""
    side = job.sample.short_side
    picture = Media(identity="check", mime="image/jpeg", data=test_jpeg(side, job.sample.quality))
    return Trial(f"takes {count} pictures of {side} px", stage.asks(COLOUR, *[picture] * count))


def _schema(job: Job) -> Trial:
    """A reply held to a schema: the job's own where it asks for one. A run asks for text where it is refused."""
    own = JSON.one.schema if job.ask.reply_format == "json_schema" else None
    text = "Fill all fields with the word yes." if own else 'Reply with the JSON object {"answer": "yes"}.'
    return Trial("takes a JSON schema", replace(job.ask.asks(Text(text=text)), reply_schema=own or YES), needed=False)


def _tone(job: Job) -> Trial:
    """A second of sound."""
    form = job.speech.audio
    sound = Sound(start_ms=0, end_ms=1000, mime=MIMES[form], identity="check", data=tone(form))
    return Trial(f"takes sound ({form})", TranscribeSpeech().request(sound))


def _parameters(job: Job, stage: Prompted) -> str:
    """What a stage's requests say beside their messages, and whether they have a system message."""
    request = stage.asks()
    fields = job.endpoints.of(stage.role).sampling(request)
    return json.dumps([fields, bool(stage.system)], sort_keys=True)
