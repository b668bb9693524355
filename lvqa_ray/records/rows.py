"""The frozen rows that pass from stage to stage. Times are seconds from the start of the video, sizes are pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from lvqa_ray.errors import ApiError, VideoError
from lvqa_ray.records.sound import Sound
from lvqa_ray.records.uri import redact_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a conversation, in the reference's ``{"from": ..., "value": ...}`` form."""

    speaker: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One line of the corpus.

    Attributes:
        id: Unique in the corpus and safe as a file name.
        uri: Local path or URL of the file; a signed URL is a secret, to be shown as `redact_url`.
        fingerprint: Changes when the file changes; empty when there is no file.
        conversation: The input's own turns; a first human turn that says something replaces the caption prompt.
        extra: The input's further columns as one JSON object.
    """

    id: str
    uri: str
    fingerprint: str
    conversation: tuple[Turn, ...] = ()
    extra: str = "{}"

    @property
    def content(self) -> str:
        """Names what is in the file: its fingerprint; its place, where there was no file when it was looked for."""
        return self.fingerprint or redact_url(self.uri)

    @property
    def input_hash(self) -> str:
        """16 hex digits that change with what came along with the file: its own prompt and the further columns."""
        if not self.conversation and self.extra == "{}":
            return _NOTHING_ALONG
        said = "\0".join(f"{turn.speaker}\0{turn.value}" for turn in self.conversation)
        return _input_hash(said, self.extra)


def _input_hash(said: str, extra: str) -> str:
    return hashlib.sha256(f"{said}\0\0{extra}".encode(errors="replace")).hexdigest()[:16]


_NOTHING_ALONG = _input_hash("", "{}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a video is, as probed.

    Attributes:
        num_frames: Frames in the video stream, counted or estimated from duration and rate.
        height: Displayed height in pixels, after rotation.
        width: Displayed width in square pixels, after rotation.
        fps: Mean frames per second.
        duration_sec: Seconds of picture; sound that goes on longer does not count.
        rotation: Clockwise degrees by which the stored picture is turned for display (0, 90, 180 or 270); one that is
            mirrored, too, is mirrored from left to right before that.
        codec: FFmpeg's name of the video codec.
        has_audio: Whether there is a sound stream.
        partial: Why only a part can be used (a truncated file), or empty.
    """

    num_frames: int
    height: int
    width: int
    fps: float
    duration_sec: float
    rotation: int = 0
    codec: str = ""
    has_audio: bool = False
    partial: str = ""

    @property
    def aspect_ratio(self) -> float:
        """Width divided by height."""
        return self.width / self.height

    @property
    def resolution(self) -> int:
        """Pixels in a frame."""
        return self.width * self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open stretch of time ``[start_s, end_s)``."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One sampled picture: JPEG bytes, empty where they are not at hand, and the time at which it is shown."""

    time_s: float
    jpeg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtitle:
    """One line of what is said, and when: milliseconds from the first picture of the video, the end excluded.

    Attributes:
        text: What is said, on one line.
        source: Where it comes from: ``sidecar``, ``stream``, ``endpoint`` or ``whisper``.
        language: Its language, as the source names it, or empty.
    """

    start_ms: int
    end_ms: int
    text: str
    source: str = ""
    language: str = ""

    def reaches(self, span: Span) -> bool:
        """Whether a part of it is said in a span."""
        return self.start_ms < 1000 * span.end_s and self.end_ms > 1000 * span.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedVideo:
    """A video that can be used, what it is, and what is said in it.

    Attributes:
        speech: In time order, as far as it is known.
        note: Why a source of it could not be used, or empty.
        sound: What is yet to be written down of it.
    """

    video: Video
    info: VideoInfo
    speech: tuple[Subtitle, ...] = ()
    note: str = ""
    sound: tuple[Sound, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A span of a video on its way to a caption.

    Attributes:
        index: 0-based place among the clips of the video, counted before filters.
        last: Whether this is the video's last clip; the assembler counts on exactly one.
        dropped: Name of the filter that rejected the clip, or empty.
        media_path: Path of the cut clip file, if clips are cut.
        media_span: What the cut clip file really covers: more than ``span`` where it starts at a key frame.
        media_mode: How the cut clip file was really made: ``encode`` where ``exact`` was not possible.
        frames: Sampled frames, in time order.
        media: Bytes of the cut clip file, when the model is to be shown the clip itself.
        lost_s: Seconds of the span whose picture did not decode, as far as it was decoded.
        identity: What the frames or the file are made of: fingerprint, span and settings. It stands for the bytes in
            the cache key, and is the same whenever the clip is made again.
        speech: What is said in the span, as far as it is known: the lines that reach into it.
        heard: All that is said in the video, also between clips; on its first clip only.
        note: What was done otherwise than asked for, before it was captioned; or empty.
    """

    video: Video
    info: VideoInfo
    index: int
    span: Span
    last: bool
    dropped: str = ""
    media_path: str = ""
    media_span: Span | None = None
    media_mode: str = ""
    frames: tuple[Frame, ...] = field(default=(), repr=False)
    media: bytes = field(default=b"", repr=False)
    lost_s: float = 0.0
    identity: str = ""
    speech: tuple[Subtitle, ...] = ()
    heard: tuple[Subtitle, ...] = ()
    note: str = ""

    @property
    def id(self) -> str:
        """``{video id}_{index}``."""
        return f"{self.video.id}_{self.index}"

    def hearing(self, lines: tuple[Subtitle, ...], note: str = "") -> Clip:
        """The clip with what is said in its span; the first one of a video also keeps all that is said, and the note.

        Args:
            lines: What is said in the video.
            note: Why a source of it could not be used.
        """
        said = tuple(line for line in lines if line.reaches(self.span))
        return replace(self, speech=said) if self.index else replace(self, speech=said, heard=lines, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What calls cost.

    Attributes:
        calls: Replies that were paid for, now or, from the journal, earlier.
        cached: Those of them that came from the journal.
        input_tokens: Prompt tokens, as the endpoint counted them.
        output_tokens: Completion tokens, as the endpoint counted them.
        cost_usd: US dollars when the tokens were paid, ``None`` where no price is known.
    """

    calls: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None

    @classmethod
    def of(cls, error: ApiError) -> Usage:
        """What a reply cost that cannot be used; nothing where the error came without one."""
        if error.bill is None:
            return cls()
        tokens_in, tokens_out, cost = error.bill
        return cls(calls=1, cached=int(error.cached), input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=cost)

    def share(self, index: int, of: int) -> Usage:
        """One of several shares that add up to this: each question that a call wrote bears a part of its cost."""
        first = int(index == 0)

        def part(whole: int) -> int:
            return whole // of + first * (whole % of)

        return Usage(
            calls=part(self.calls),
            cached=part(self.cached),
            input_tokens=part(self.input_tokens),
            output_tokens=part(self.output_tokens),
            cost_usd=None if self.cost_usd is None else self.cost_usd / of,
        )

    def __add__(self, other: Usage) -> Usage:
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Usage(
            calls=self.calls + other.calls,
            cached=self.cached + other.cached,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=sum(costs) if costs else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a video, or one clip of it, did not get an answer.

    Attributes:
        clip_id: The clip it happened to, or empty when it happened to the video.
        stage: Name of the stage that failed.
        kind: A value of `VideoFault` or `ParseFault`, the ``kind`` of an `ApiError`, or ``worker_crashed``.
        attempts: How often it was tried.
        message: One sentence, free of secrets.
        retryable: Whether a later run should try again.
        raw: The reply that could not be used, if there was one.
        usage: What writing the video's questions has cost, where no record bears it.
        requested: The category of each question that was requested and has no row in ``drops/``.
    """

    video: Video
    stage: str
    kind: str
    message: str
    clip_id: str = ""
    attempts: int = 1
    retryable: bool = False
    raw: str = ""
    usage: Usage = Usage()
    requested: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: VideoError | ApiError, *, video: Video, stage: str, clip_id: str = "") -> Failure:
        """The row that an error of one video becomes."""
        failure = cls(video=video, clip_id=clip_id, stage=stage, kind=str(error.kind), message=str(error))
        if isinstance(error, VideoError):
            return replace(failure, retryable=error.retryable)
        return replace(failure, attempts=error.attempts, retryable=error.retryable, raw=error.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedClip:
    """A clip after captioning: a caption, a failure, or neither where a filter dropped the clip.

    Attributes:
        note: What was done otherwise than asked for to get the caption, such as fewer frames; or empty.
    """

    clip: Clip
    caption: str = ""
    model: str = ""
    usage: Usage = Usage()
    failure: Failure | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedVideo:
    """A video with all its clips, in time order, and their merged captions.

    Attributes:
        captions: One line a captioned clip: ``From {start} to {end}, {caption}``.
        num_clips: Lines in ``captions``.
        overview: The film in short, as such lines, where the captions are too long for one prompt; else empty.
        budget: Tokens of captions that a prompt may then hold.
        usage: What the overview cost.
        shown: All of the video with pictures, while questions are asked that see them.
        speech: What is said in it, in time order, as far as that is known.
    """

    video: Video
    info: VideoInfo
    clips: tuple[CaptionedClip, ...]
    captions: str
    num_clips: int
    overview: str = ""
    budget: int = 0
    usage: Usage = Usage()
    shown: Clip | None = None
    speech: tuple[Subtitle, ...] = ()
