"""Watch check: how often a vision model finds the key from the video itself, with the reasoning of each attempt."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import NOT_HAD, TooLong
from lvqa_ray.llm.messages import ChatReply, Media, Part, Text
from lvqa_ray.qa.repeated_answers import sample_answers
from lvqa_ray.qa.traces import traces_of
from lvqa_ray.records import (
    AskedQuestion,
    Clip,
    Failure,
    Frame,
    QuestionedVideo,
    Span,
    Verdict,
)
from lvqa_ray.records.questions import MOSTLY, SOLVE, score_of
from lvqa_ray.stage import FEWER, Chat, Repairer, Role, Sample, SeeingCheck
from lvqa_ray.stage.shown_frames import STEPS_SHOWN, Picture, shown_span, timed_frames


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckWatch(SeeingCheck):
    """Ask for the answer from the video, without captions, several times with shuffled options.

    The verdict's score is the share of readable answers that are the key, or score at least `qa.grading.RIGHT`: pass@1,
    estimated from `tries` samples. At `least` or below, the video does not lead to the key; above `most`, the question
    is too easy. If fewer than half of the answers are readable, the verdict has no score and does not pass. Each
    attempt becomes a row of ``traces/``.
    """

    name: ClassVar[str] = "watch"
    role: ClassVar[Role] = "watcher"
    version: ClassVar[str] = "watch/1"
    usual_reply_tokens: ClassVar[int] = 600
    known: ClassVar[tuple[str, ...]] = ("question", "video_id", "duration")
    required: ClassVar[tuple[str, ...]] = ("question",)

    policy: Literal["off", "mark", "drop"] = Field(
        default="off",
        description="Action on a question whose answers from the video are not its key: off, mark or drop.",
    )
    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {question} (required), {video_id}, {duration} (s).",
    )
    temperature: float | None = Field(
        default=0.7, ge=0, le=2, description="Sampling temperature; null for the endpoint's setting."
    )
    media: Literal["frames", "video"] = Field(
        default="frames", description="What the model sees: frames of the whole video, or its file (video_url)."
    )
    frames: int = Field(
        default=32,
        ge=1,
        le=512,
        description="Number of frames of the whole video, evenly spaced; their size is that of `sample`.",
    )
    cited_frames: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Number of further frames of each cited span, at most `frames`. They tell where to look, so the "
        "share of correct answers is higher than that of a model that searches the video.",
    )
    video_mb: float = Field(
        default=20.0,
        gt=0,
        allow_inf_nan=False,
        description="media video: maximum size of a file (MB); questions about a larger one are not checked.",
    )
    tries: int = Field(default=4, ge=1, le=64, description="How often each question is answered.")
    least: float = Field(
        default=0.0, ge=0, lt=1, description="The share of answers that are the key must be greater than this."
    )
    most: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Maximum share of answers that are the key; less than 1 drops easy questions.",
    )
    stop_early: bool = Field(
        default=False, description="Request no more answers of a question once its share is certain to pass or fail."
    )

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.least >= self.most:
            raise ValueError(f"least must be less than most, not {self.least:g} and {self.most:g}")
        if self.cited_frames > self.frames:
            raise ValueError("cited_frames must not exceed frames, the number of frames that are decoded per span")
        return self

    @property
    def calls(self) -> int:
        """See `CallCheck`."""
        return self.tries

    def media_tokens(self, picture: int, film: int) -> int:
        """See `SeeingCheck`."""
        return film if self.media == "video" else picture * (self.frames + STEPS_SHOWN * self.cited_frames)

    def show(self, row: QuestionedVideo, sample: Sample) -> Iterator[QuestionedVideo | Failure]:
        """Add frames of the whole film, then of the cited spans; or the bytes of its file.

        A span that does not decode has no frames. If the file is unavailable, the video fails as retryable, since its
        questions are paid for and unchecked.
        """
        film = row.film
        spans = [Span(start_s=0.0, end_s=film.info.duration_sec)]
        if self.cited_frames and self.media == "frames":
            cited = {shown_span(step, film) for asked in row.questions for step in asked.question.steps} - {*spans}
            spans += sorted(cited, key=lambda span: (span.start_s, span.end_s))
        shown: list[Clip] = []
        for index, span in enumerate(spans):
            clip = Clip(video=film.video, info=film.info, index=index, span=span, last=False)
            for out in sample(clip):
                if isinstance(out, Clip):
                    shown.append(self._with_file(out) if self.media == "video" else self._thinned(out))
                elif out.failure is not None and out.failure.kind in NOT_HAD:
                    lost = replace(out.failure, stage=self.name, clip_id="", retryable=True)
                    yield replace(lost, requested=row.requested)
                    return
                else:
                    shown.append(clip)
        yield replace(row, shown=tuple(shown))

    def _thinned(self, clip: Clip) -> Clip:
        """A cited span without the images that are not shown; the whole film is shown with all of them."""
        if clip.index == 0:
            return clip
        kept = {place for place, _ in self._chosen(clip)}
        frames = (one if place in kept else replace(one, jpeg=b"") for place, one in enumerate(clip.frames))
        return replace(clip, frames=tuple(frames))

    def _chosen(self, clip: Clip) -> list[tuple[int, Frame]]:
        """Frames of a cited span that are shown, with their places among those that were decoded."""
        count = min(self.cited_frames, len(clip.frames))
        places = [int((number + 0.5) * len(clip.frames) / count) for number in range(count)]
        return [(place, clip.frames[place]) for place in places]

    def _with_file(self, clip: Clip) -> Clip:
        """The film's own bytes instead of its frames; none if they are not at hand (a prediction) or too many."""
        identity = f"{clip.video.content} whole film"
        bare = replace(clip, frames=(), identity=identity)
        if not any(frame.jpeg for frame in clip.frames):
            return bare
        path = Path(clip.video.uri)
        size_mb = path.stat().st_size / 1e6
        if size_mb > self.video_mb:
            why = f"its file has {size_mb:.1f} MB and checks.watch.video_mb is {self.video_mb:g}"
            return replace(bare, note=f"{why}: raise it, or set checks.watch.media to frames")
        return replace(bare, media=path.read_bytes())

    async def __call__(
        self, row: QuestionedVideo, chat: Chat, repairer: Repairer | None = None
    ) -> list[QuestionedVideo | Failure]:
        """See `CallCheck`; a video whose verdicts are already complete (from cached replies) stays unchanged."""
        if all(self.name in {verdict.check for verdict in asked.verdicts} for asked in row.questions):
            return [row]
        return await super().__call__(row, chat, repairer)

    async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:
        """Judge by the share of correct answers; see `CallCheck`."""
        film = row.film
        whole = row.shown[0] if row.shown else None
        if whole is None or not (whole.frames or self.media == "video"):
            return self.failed("no picture of the film can be decoded")
        if whole.note:
            return self.failed(f"it could not be checked: {whole.note}")
        pictures = [] if self.media == "video" else self._pictures(asked, row)
        values = {"video_id": film.video.id, "duration": f"{film.info.duration_sec:.0f}"}
        prompt = self.prompt if asked.question.kind == "choice" else WATCH_KEYED
        fewer = [1]

        async def ask(question: str, number: int) -> ChatReply:
            said = {**values, "question": question}
            for share in [share for share in FEWER if share >= fewer[0]]:
                shown = pictures[::share]
                facts: dict[str, JsonValue] = {**said, "times": [frame.time_s for _, frame in shown]}
                try:
                    return await chat(self.asks(*self._parts(said, whole, shown, prompt), attempt=number, facts=facts))
                except TooLong:
                    if share == FEWER[-1] or not pictures:
                        raise
                    fewer[0] = max(fewer[0], 2 * share)  # the other attempts would be too long as well
            raise TooLong("the film does not fit the model's context")

        found = await sample_answers(asked.question, self.tries, ask, self._decided if self.stop_early else None)
        seen = [frame.time_s for _, frame in pictures[:: fewer[0]]]
        traces = traces_of(self.name, asked.question, found.attempts, self.media, seen)
        if found.unread:
            return replace(self.unchecked(found.unread, found.usage), traces=traces)
        passed = self.least < found.rate <= self.most
        return Verdict(
            check=self.name,
            passed=passed,
            reason="" if passed else self._reason(found.right, found.tries, asked),
            score=found.rate,
            tries=found.tries,
            usage=found.usage,
            traces=traces,
        )

    def _decided(self, lowest: float, highest: float) -> bool:
        """Whether a share between two bounds is certain to pass, or certain to fail."""
        return highest <= self.least or lowest > self.most or (self.least < lowest and highest <= self.most)

    def _reason(self, right: int, tries: int, asked: AskedQuestion) -> str:
        reason = f"{right} of {tries} answers from the film are its key"
        told = score_of(asked.verdicts, SOLVE)
        if right or told is None or told <= MOSTLY:
            return reason
        return f"{reason}, and {told:.0%} of those from the captions: the captions may be wrong"

    def _pictures(self, asked: AskedQuestion, row: QuestionedVideo) -> Sequence[Picture]:
        """The frames for one question, in time order: those of the film, and those of the spans that it cites."""
        whole, *others = row.shown
        pictures = [(f"{whole.identity} #{place}", frame) for place, frame in enumerate(whole.frames)]
        cited = {shown_span(step, row.film) for step in asked.question.steps}
        for clip in others:
            if clip.span in cited and clip.frames:
                pictures += [(f"{clip.identity} #{place}", frame) for place, frame in self._chosen(clip)]
        return sorted(pictures, key=lambda picture: picture[1].time_s)

    def _parts(
        self, values: Mapping[str, str], whole: Clip, pictures: Sequence[Picture], prompt: str
    ) -> Sequence[Part]:
        """The media, which are the same in every attempt and so can be cached by the endpoint, then the prompt."""
        parts: list[Part] = []
        if self.media == "video":
            mime = mimetypes.guess_type(whole.video.uri.partition("?")[0])[0] or ""
            mime = mime if mime.startswith("video/") else "video/mp4"
            parts.append(Media(identity=whole.identity, mime=mime, data=whole.media))
        return [*parts, *timed_frames(pictures), Text(text=self.filled(values, prompt))]


PROMPT = """\
This is one video, {duration} seconds long. Pictures come in the order of time, each with the second at which it is on \
screen.

Answer this multiple-choice question about the video, going by what can be seen:

{question}

Exactly one option is right. Look for the moments that matter and think it through step by step; speak of options by \
what they say, not by their letters. Then end with the line "ANSWER: " followed by the letter of the right option."""

WATCH_KEYED = """\
This is one video, {duration} seconds long. Pictures come in the order of time, each with the second at which it is on \
screen.

Answer this question about the video, going by what can be seen:

{question}

Look for the moments that matter and think it through step by step. Then end with the line "ANSWER: " followed by the \
answer alone."""
