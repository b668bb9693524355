"""Evidence check: whether the frames of the cited spans support the reasoning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import NOT_HAD, TooLong
from lvqa_ray.llm.messages import Part, Text
from lvqa_ray.qa.repeated_answers import all_of
from lvqa_ray.qa.rubric import read_score
from lvqa_ray.records import (
    AskedQuestion,
    Clip,
    Failure,
    QuestionedVideo,
    ReasoningStep,
    Usage,
    Verdict,
)
from lvqa_ray.stage import FEWER, Chat, ParsedReply, Repairer, Role, Sample, SeeingCheck
from lvqa_ray.stage.shown_frames import STEPS_SHOWN, shown_span, timed_frames


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckEvidence(SeeingCheck):
    """Send frames of each step's span to the VLM, which scores how well they support the step.

    The verdict's score is that of the weakest step (LongVT uses 0.85). Only the cited spans are decoded.
    """

    name: ClassVar[str] = "evidence"
    role: ClassVar[Role] = "vlm"
    version: ClassVar[str] = "evidence/1"
    usual_reply_tokens: ClassVar[int] = 60
    known: ClassVar[tuple[str, ...]] = ("claim", "start", "end", "video_id")
    required: ClassVar[tuple[str, ...]] = ("claim",)

    policy: Literal["off", "mark", "drop"] = Field(
        default="off",
        description="Action on a question with a reasoning step that the frames do not support: off, mark or drop.",
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {claim} (required), {start}, {end} (s), {video_id}.",
    )
    frames: int = Field(
        default=8, ge=1, le=64, description="Number of frames per cited span; their size is that of `sample`."
    )
    least: float = Field(default=0.85, gt=0, le=1, description="Minimum score of a supported step.")

    @property
    def calls(self) -> int:
        """See `CallCheck`."""
        return STEPS_SHOWN

    def show(self, row: QuestionedVideo, sample: Sample) -> Iterator[QuestionedVideo | Failure]:
        """Add frames of the spans that the questions cite; a span that does not decode has none.

        If the file is unavailable, the video fails as retryable, since its questions are paid for and unchecked.
        """
        spans = {shown_span(step, row.film) for asked in row.questions for step in asked.question.steps}
        shown: list[Clip] = []
        for index, span in enumerate(sorted(spans, key=lambda span: (span.start_s, span.end_s))):
            clip = Clip(video=row.film.video, info=row.film.info, index=index, span=span, last=False)
            for out in sample(clip):
                if isinstance(out, Clip):
                    shown.append(out)
                elif out.failure is not None and out.failure.kind in NOT_HAD:
                    lost = replace(out.failure, stage=self.name, clip_id="", retryable=True)
                    yield replace(lost, requested=row.requested)
                    return
                else:
                    shown.append(clip)
        yield replace(row, shown=tuple(shown))

    async def __call__(
        self, row: QuestionedVideo, chat: Chat, repairer: Repairer | None = None
    ) -> list[QuestionedVideo | Failure]:
        """See `CallCheck`; a video whose verdicts are already complete (from cached replies) stays unchanged."""
        if all(self.name in {verdict.check for verdict in asked.verdicts} for asked in row.questions):
            return [row]
        return await super().__call__(row, chat, repairer)

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Judge by the score of the weakest step; see `CallCheck`."""
        clips = {clip.span: clip for clip in row.shown}
        steps = [(step, clips.get(shown_span(step, row.film))) for step in asked.question.steps]
        for step, clip in steps:
            if clip is None or not clip.frames:
                return self.failed(f"no picture of {step.timestamp} can be decoded")
        found = await all_of(self._scored(step, clip, chat) for step, clip in steps if clip is not None)
        usage = sum((reply.usage for reply in found), Usage())
        if fault := next((reply.fault for reply in found if reply.fault), ""):
            return Verdict(check=self.name, passed=False, reason=fault, usage=usage)
        scores = [reply.value or 0.0 for reply in found]
        lowest = min(scores)
        where = asked.question.steps[scores.index(lowest)].timestamp
        return Verdict(
            check=self.name,
            passed=lowest >= self.least,
            reason="" if lowest >= self.least else f"what is claimed of {where} scores {lowest:g}",
            score=lowest,
            tries=len(scores),
            usage=usage,
        )

    async def _scored(self, step: ReasoningStep, clip: Clip, chat: Chat) -> ParsedReply[float]:
        """Score one step, with fewer frames if the request is too long for the model."""
        values = {
            "claim": "\n".join(f"- {reason}" for reason in step.reasons),
            "start": f"{clip.span.start_s:.2f}",
            "end": f"{clip.span.end_s:.2f}",
            "video_id": clip.video.id,
        }
        for share in FEWER[:-1]:
            try:
                return await self.read(chat, self._parts(values, clip, share), read_score, values)
            except TooLong:
                continue
        return await self.read(chat, self._parts(values, clip, FEWER[-1]), read_score, values)

    def _parts(self, values: Mapping[str, str], clip: Clip, share: int) -> Sequence[Part]:
        frames = list(enumerate(clip.frames))[::share]
        return [Text(text=self.filled(values)), *timed_frames((f"{clip.identity} #{n}", frame) for n, frame in frames)]


PROMPT = """\
You see pictures of one video, from {start} s to {end} s, in the order of time, each with the second at which it is \
on screen. Somebody claims to have seen this in them:

{claim}

How far do the pictures bear that out? Judge only what pictures can show: leave out what is concluded from it, what \
is said of other moments or of options, and sounds. The score is 1 where all of it can be seen, or where there is \
nothing left to be seen, and 0 where none of it can be, or where something else is seen.

Say in one sentence what decides it. Then end with the line "SCORE: " followed by a number from 0 to 1."""
