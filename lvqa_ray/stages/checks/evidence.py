"""Whether what the reasoning claims can be seen at the times that it cites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import NOT_HAD, TooLong
from lvqa_ray.llm.messages import Media, Part, Text
from lvqa_ray.qa.repeated_answers import all_of
from lvqa_ray.qa.rubric import read_score
from lvqa_ray.records import AskedQuestion, CaptionedVideo, Clip, Failure, QuestionedVideo, Span, Step, Usage, Verdict
from lvqa_ray.stage import CallCheck, Chat, ParsedReply, Repairer, Role

Sample = Callable[[Clip], Iterable[Any]]
"""Takes the pictures of a clip, as the stage `sample` does."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckEvidence(CallCheck):
    """Show the VLM pictures of each step's span, and have it say how far they bear out what the step claims.

    The verdict's score is that of the weakest step. (LongVT keeps 0.85.) Only the cited spans are decoded.
    """

    name: ClassVar[str] = "evidence"
    role: ClassVar[Role] = "vlm"
    version: ClassVar[str] = "evidence/1"
    known: ClassVar[tuple[str, ...]] = ("claim", "start", "end", "video_id")
    required: ClassVar[tuple[str, ...]] = ("claim",)

    policy: Literal["off", "mark", "drop"] = Field(
        default="off", description="What is done about a question with a step that is not borne out: off, mark or drop."
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="What to ask. Placeholders: {claim} (needed), {start}, {end} (s), {video_id}.",
    )
    frames: int = Field(default=8, ge=1, le=64, description="Pictures of each span, of the size that `sample` sets.")
    least: float = Field(default=0.85, gt=0, le=1, description="Least score of a step that is borne out.")

    @property
    def calls(self) -> int:
        """See `CallCheck`."""
        return USUAL_STEPS

    def show(self, row: QuestionedVideo, sample: Sample) -> Iterator[QuestionedVideo | Failure]:
        """The film with pictures of the spans that its questions cite; a span that does not decode has none.

        Where the file itself cannot be had, the video fails for now: its questions are paid for, and nothing is known
        of them.
        """
        spans = {_span(step, row.film) for asked in row.questions for step in asked.question.steps}
        shown: list[Clip] = []
        for index, span in enumerate(sorted(spans, key=lambda span: (span.start_s, span.end_s))):
            clip = Clip(video=row.film.video, info=row.film.info, index=index, span=span, last=False)
            for out in sample(clip):
                if isinstance(out, Clip):
                    shown.append(out)
                elif out.failure.kind in NOT_HAD:
                    lost = replace(out.failure, stage=self.name, clip_id="", retryable=True)
                    yield replace(lost, requested=row.requested)
                    return
                else:
                    shown.append(clip)
        yield replace(row, shown=tuple(shown))

    async def __call__(
        self, row: QuestionedVideo, chat: Chat, mend: Repairer | None = None
    ) -> list[QuestionedVideo | Failure]:
        """See `CallCheck`; a film that has all verdicts already, by answers that were paid for, passes as it is."""
        if all(self.name in {verdict.check for verdict in asked.verdicts} for asked in row.questions):
            return [row]
        return await super().__call__(row, chat, mend)

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """How far each step is borne out; see `CallCheck`."""
        clips = {clip.span: clip for clip in row.shown}
        steps = [(step, clips.get(_span(step, row.film))) for step in asked.question.steps]
        for step, clip in steps:
            if clip is None or not clip.frames:
                return self.failed(f"no picture of {step.timestamp} can be decoded")
        found = await all_of(self._scored(step, clip, chat) for step, clip in steps if clip is not None)
        usage = sum((said.usage for said in found), Usage())
        if fault := next((said.fault for said in found if said.fault), ""):
            return Verdict(check=self.name, passed=False, reason=fault, usage=usage)
        scores = [said.value or 0.0 for said in found]
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

    async def _scored(self, step: Step, clip: Clip, chat: Chat) -> ParsedReply[float]:
        """The score of one step; fewer pictures are shown where they are too many for the model."""
        for share in FEWER[:-1]:
            try:
                return await self.read(chat, self._parts(step, clip, share), read_score)
            except TooLong:
                continue
        return await self.read(chat, self._parts(step, clip, FEWER[-1]), read_score)

    def _parts(self, step: Step, clip: Clip, share: int) -> Sequence[Part]:
        values = {
            "claim": "\n".join(f"- {reason}" for reason in step.reasons),
            "start": f"{clip.span.start_s:.2f}",
            "end": f"{clip.span.end_s:.2f}",
            "video_id": clip.video.id,
        }
        parts: list[Part] = [Text(text=self.filled(values))]
        for index, frame in list(enumerate(clip.frames))[::share]:
            parts.append(Text(text=f"Frame at {frame.time_s:.2f} s:"))
            parts.append(Media(identity=f"{clip.identity} #{index}", mime="image/jpeg", data=frame.jpeg))
        return parts

    def decided(self, row: QuestionedVideo, *args: Any, **kwargs: Any) -> QuestionedVideo:  # noqa: ANN401 - as it is called
        """See `PolicyMixin`; the pictures end here."""
        return replace(super().decided(row, *args, **kwargs), shown=())


def _span(step: Step, film: CaptionedVideo) -> Span:
    """What is shown of a step: its span in the video, and of a moment the second around it."""
    end_s = film.info.duration_sec
    start, end = min(step.span.start_s, end_s), min(step.span.end_s, end_s)
    if end - start < MOMENT_S:
        start, end = max(0.0, (start + end - MOMENT_S) / 2), min(end_s, (start + end + MOMENT_S) / 2)
    return Span(start_s=round(start, 3), end_s=round(end, 3))


MOMENT_S = 1.0
FEWER = (1, 2, 4)
USUAL_STEPS = 3

PROMPT = """\
You see pictures of one video, from {start} s to {end} s, in the order of time, each with the second at which it is \
on screen. Somebody claims to have seen this in them:

{claim}

How far do the pictures bear that out? Judge only what pictures can show: leave out what is concluded from it, what \
is said of other moments or of options, and sounds. The score is 1 where all of it can be seen, or where there is \
nothing left to be seen, and 0 where none of it can be, or where something else is seen.

Say in one sentence what decides it. Then end with the line "SCORE: " followed by a number from 0 to 1."""
