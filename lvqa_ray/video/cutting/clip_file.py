"""Clip files: a span of a video as an MP4, frame-accurate or copied from a key frame on.

Runs in this process, with PyAV's codecs. Decoding starts at the key frame before the span, so the cost does not depend
on the position in the video.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from uuid import uuid4

import av

from lvqa_ray.errors import ConfigError, VideoError, VideoFault
from lvqa_ray.records import Span
from lvqa_ray.video.cutting.audio_track import clip_sound
from lvqa_ray.video.cutting.h264_nal import UnitError
from lvqa_ray.video.cutting.reencode import EncodedPicture, Encoding
from lvqa_ray.video.cutting.smart_cut import ExactPicture
from lvqa_ray.video.cutting.smart_cut_edges import PRESET as EDGE_PRESET
from lvqa_ray.video.cutting.smart_cut_plan import NoKeyFrameError, NotExactError
from lvqa_ray.video.cutting.stream_copy import CopiedPicture
from lvqa_ray.video.reader.video_reader import no_frames, open_video

CutMode = Literal["exact", "encode", "copy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFile:
    """Content of a clip file.

    Attributes:
        span: True span, in seconds of the source.
        mode: How it was cut; ``encode`` if ``exact`` was impossible.
    """

    span: Span
    mode: CutMode


def clip_name(span: Span, mode: str, **encoding: str | float | bool) -> str:
    """Build a file name with all settings of a clip, so that a stale file is never reused.

    Args:
        span: The wanted span; the name has milliseconds.
        mode: How it is cut.
        **encoding: Settings that change the file, such as ``crf=23``.

    Returns:
        For example ``000010000-000020000_encode_crf-23_preset-veryfast.mp4``.
    """
    start_ms, end_ms = round(span.start_s * 1000), round(span.end_s * 1000)
    settings = [f"{key}-{value}".lower() for key, value in sorted(encoding.items())]
    name = "_".join([f"{start_ms:09d}-{end_ms:09d}", mode, *settings])
    return re.sub(r"[^\w.-]", "-", name) + ".mp4"


def cut_clip(
    source: str,
    span: Span,
    dest: Path,
    *,
    mode: CutMode,
    encoding: Encoding = Encoding(),  # noqa: B008 - it is frozen
    audio: bool = True,
) -> ClipFile:
    """Cut one clip out of a video.

    ``encode`` decodes from the key frame before the span and re-encodes exactly the frames that appear within it,
    upright, with even sides, at the source's times.

    ``exact`` (smart cut) gives the same frames at the same times, but copies whole GOPs. It encodes only the frames
    before the first GOP and, with B-frames, the last few, to H.264 with x264's fastest preset at ``encoding.crf``. It
    keeps the rotation as metadata. A span without an IDR frame is encoded completely, with the same preset. For codecs
    other than H.264 in 8-bit 4:2:0, interlaced video, open GOPs, and files with damaged packets it falls back to
    ``encode``, which the result states. Damage within a frame, visible only after decoding, is copied: use ``encode``
    if it is known.

    ``copy`` copies packets from that key frame on, so the clip begins up to one GOP early, and may end a few frames
    late, on which earlier ones depend. It keeps the rotation as metadata. A codec that MP4 does not support, such as
    VP8, is an error.

    Audio is copied in all modes: it starts and ends within one packet (about 20 ms) of the video. Codecs that MP4 does
    not support everywhere (PCM, Vorbis, MP2, WMA, AMR) are encoded to AAC, mono or stereo.

    Args:
        source: A local video file.
        span: The wanted span, in seconds from the first frame.
        dest: The clip file, written atomically; its folder is created.
        mode: ``exact``, ``encode`` or ``copy``.
        encoding: Settings for ``encode``.
        audio: Whether to keep the audio.

    Returns:
        The clip's true span and mode.

    Raises:
        VideoError: The source cannot be read, or has no frame within the span.
        ConfigError: The clip cannot be written: no space, no permission.
    """
    try:
        with _moved_into_place(dest) as temporary:
            if mode == "exact":
                try:
                    return _write(source, span, temporary, mode="exact", encoding=encoding, audio=audio)
                except NoKeyFrameError:  # nothing to copy
                    mode, encoding = "encode", replace(encoding, preset=EDGE_PRESET)
                except (NotExactError, UnitError, av.FFmpegError):
                    mode = "encode"
            return _write(source, span, temporary, mode=mode, encoding=encoding, audio=audio)
    except OSError as error:  # reading errors are VideoError by now
        raise ConfigError(f"Cannot write the clip {dest} ({error.strerror or error}); mend space or rights.") from error
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(
            VideoFault.UNREADABLE, f"{source} cannot be cut at {span.start_s:.3f} s ({error}); re-encode it first."
        ) from error


def _write(source: str, span: Span, path: Path, *, mode: CutMode, encoding: Encoding, audio: bool) -> ClipFile:
    # The index goes to the front, so that an endpoint can decode the clip while downloading it.
    with (
        open_video(source) as video,
        av.open(f"file:{path}", "w", format="mp4", options={"movflags": "faststart"}) as output,
    ):
        picture: ExactPicture | EncodedPicture | CopiedPicture
        if mode == "exact":
            picture = ExactPicture(video, output, span, crf=encoding.crf)
        elif mode == "encode":
            picture = EncodedPicture(video, output, span, encoding)
        else:
            picture = CopiedPicture(video, output, span)
        if audio:  # the muxer buffers it until the video catches up
            with open_video(source, picture_only=False) as other:
                for sound in clip_sound(other, output, Span(start_s=picture.start_s, end_s=span.end_s)):
                    output.mux(sound)
        for packet in picture.packets():
            output.mux(packet)
    if isinstance(picture, ExactPicture):
        picture.check(path)
    if picture.end_s <= span.start_s:
        raise no_frames(f"{source} between {span.start_s:.3f} s and {span.end_s:.3f} s")
    return ClipFile(span=Span(start_s=picture.start_s, end_s=picture.end_s), mode=mode)


@contextmanager
def _moved_into_place(dest: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``dest``; rename it at the end, or remove it after an error."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    temporary = dest.with_name(f".{dest.stem}.{uuid4().hex}.part")
    try:
        yield temporary
        temporary.replace(dest)
    finally:
        temporary.unlink(missing_ok=True)
