"""Frozen dataclasses that pass between stages. Times are seconds from the start of the video, sizes are pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from lvqa_ray.errors import ApiError, VideoError
from lvqa_ray.records.sound import Sound
from lvqa_ray.records.uri import redact_url
from lvqa_ray.records.usage import NO_USAGE, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a conversation, in the reference's ``{"from": ..., "value": ...}`` form."""

    speaker: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One video of the corpus.

    Attributes:
        id: Unique in the corpus and safe as a file name.
        uri: Local path or URL of the file; a signed URL is a secret: show it by `redact_url`.
        fingerprint: Changes when the file changes; empty if there is no file.
        conversation: Turns from the manifest; a first human turn that is not empty replaces the caption prompt.
        extra: The further columns of the manifest as one JSON object.
    """

    id: str
    uri: str
    fingerprint: str
    conversation: tuple[Turn, ...] = ()
    extra: str = "{}"

    @property
    def content(self) -> str:
        """Identifies the content: the fingerprint, or the location if there was no file."""
        return self.fingerprint or redact_url(self.uri)

    @property
    def input_hash(self) -> str:
        """Hash (16 hex digits) of the manifest data besides the file: the conversation and the further columns."""
        if not self.conversation and self.extra == "{}":
            return _NO_INPUT_HASH
        turns = "\0".join(f"{turn.speaker}\0{turn.value}" for turn in self.conversation)
        return _input_hash(turns, self.extra)


def _input_hash(turns: str, extra: str) -> str:
    return hashlib.sha256(f"{turns}\0\0{extra}".encode(errors="replace")).hexdigest()[:16]


_NO_INPUT_HASH = _input_hash("", "{}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """Properties of a video, as probed.

    Attributes:
        num_frames: Frames in the video stream, counted or estimated from duration and rate.
        height: Displayed height in pixels, after rotation.
        width: Displayed width in square pixels, after rotation.
        fps: Mean frames per second.
        duration_sec: Length of the video stream (s); audio that is longer does not count.
        rotation: Clockwise degrees by which stored frames are rotated for display (0, 90, 180 or 270); a mirrored
            video is flipped horizontally before that.
        codec: FFmpeg's name of the video codec.
        has_audio: Whether there is an audio stream.
        partial: Why only a part of the file is usable (a truncated file), or empty.
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
    """A half-open time interval ``[start_s, end_s)``."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One sampled frame: its time, and its JPEG bytes, which are empty if not loaded."""

    time_s: float
    jpeg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtitle:
    """One subtitle: its text and its times in milliseconds from the first frame of the video, the end excluded.

    Attributes:
        text: The spoken text, on one line.
        source: Where it comes from: ``sidecar``, ``stream``, ``endpoint`` or ``whisper``.
        language: Its language, as the source names it, or empty.
    """

    start_ms: int
    end_ms: int
    text: str
    source: str = ""
    language: str = ""

    def reaches(self, span: Span) -> bool:
        """Whether it overlaps a span."""
        return self.start_ms < 1000 * span.end_s and self.end_ms > 1000 * span.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedVideo:
    """A usable video with its properties and its transcript.

    Attributes:
        speech: Subtitles in time order, as far as they are known.
        note: Why a subtitle source could not be used, or empty.
        sound: Audio parts that are not transcribed yet.
    """

    video: Video
    info: VideoInfo
    speech: tuple[Subtitle, ...] = ()
    note: str = ""
    sound: tuple[Sound, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A span of a video, to be captioned.

    Attributes:
        index: 0-based index among the clips of the video, counted before filters.
        last: Whether this is the last clip of the video; the assembler requires exactly one.
        dropped: Name of the filter that rejected the clip, or empty.
        media_path: Path of the cut clip file, if clips are cut.
        media_span: The time that the clip file covers: more than ``span`` if it starts at an earlier key frame.
        media_mode: The cut mode that was used: ``encode`` if ``exact`` was not possible.
        frames: Sampled frames, in time order.
        media: Bytes of the clip file, if the model receives the clip itself.
        lost_s: Seconds of the span that did not decode, as far as it was decoded.
        identity: Content-addressed key of the frames or the file: fingerprint, span and settings. It replaces the
            bytes in the cache key, and is the same whenever the clip is made again.
        speech: Subtitles that overlap the span, as far as they are known.
        heard: All subtitles of the video, also between clips; on its first clip only.
        note: How the clip differs from what was requested, before captioning; or empty.
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

    def hearing(self, subtitles: tuple[Subtitle, ...], note: str = "") -> Clip:
        """The clip with the subtitles of its span; the first clip of a video also gets all subtitles and the note.

        Args:
            subtitles: The subtitles of the video.
            note: Why a subtitle source could not be used.
        """
        speech = tuple(subtitle for subtitle in subtitles if subtitle.reaches(self.span))
        return replace(self, speech=speech) if self.index else replace(self, speech=speech, heard=subtitles, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Failure of a video, or of one of its clips.

    Attributes:
        clip_id: The clip that failed, or empty if the video failed.
        stage: Name of the stage that failed.
        kind: A value of `VideoFault` or `ParseFault`, the ``kind`` of an `ApiError`, or ``worker_crashed``.
        attempts: How often it was tried.
        message: One sentence, free of secrets.
        retryable: Whether a later run should try again.
        raw: The unusable reply, if there was one.
        usage: Cost of writing the questions of the video that no record carries.
        requested: The category of each requested question that has no row in ``drops/``.
    """

    video: Video
    stage: str
    kind: str
    message: str
    clip_id: str = ""
    attempts: int = 1
    retryable: bool = False
    raw: str = ""
    usage: Usage = NO_USAGE
    requested: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: VideoError | ApiError, *, video: Video, stage: str, clip_id: str = "") -> Failure:
        """The failure row of an error of one video."""
        failure = cls(video=video, clip_id=clip_id, stage=stage, kind=str(error.kind), message=str(error))
        if isinstance(error, VideoError):
            return replace(failure, retryable=error.retryable)
        return replace(failure, attempts=error.attempts, retryable=error.retryable, raw=error.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedClip:
    """A clip after captioning: a caption, a failure, or neither if a filter dropped the clip.

    Attributes:
        note: How the caption request differs from what was requested, such as fewer frames; or empty.
    """

    clip: Clip
    caption: str = ""
    model: str = ""
    usage: Usage = NO_USAGE
    failure: Failure | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedVideo:
    """A video with all its clips, in time order, and their merged captions.

    Attributes:
        captions: One text line for each captioned clip: ``From {start} to {end}, {caption}``.
        num_clips: Lines in ``captions``.
        overview: A summary in such lines if the captions are too long for one prompt; else empty.
        budget: Maximum caption tokens of a prompt in that case.
        usage: Cost of the overview.
        shown: The whole video with frames, while questions that use frames are asked.
        speech: Subtitles in time order, as far as they are known.
    """

    video: Video
    info: VideoInfo
    clips: tuple[CaptionedClip, ...]
    captions: str
    num_clips: int
    overview: str = ""
    budget: int = 0
    usage: Usage = NO_USAGE
    shown: Clip | None = None
    speech: tuple[Subtitle, ...] = ()
