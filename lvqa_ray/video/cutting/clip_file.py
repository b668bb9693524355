"""Clip files: a span of a video as an MP4 of its own, exact to the frame, or copied from a key frame on.

In this process, with the codecs that PyAV carries. The decoder starts at the key frame before the span, so that a clip
costs the same wherever it lies in the video.
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
from lvqa_ray.video.cutting.smart_cut_edges import PRESET as SEAM_PRESET
from lvqa_ray.video.cutting.smart_cut_plan import NoKeyFrameError, NotExactError
from lvqa_ray.video.cutting.stream_copy import CopiedPicture
from lvqa_ray.video.reader.video_reader import no_frames, open_video

CutMode = Literal["exact", "encode", "copy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFile:
    """What a clip file holds.

    Attributes:
        span: What it shows, in seconds of the source.
        mode: How it was made: where ``exact`` was not possible, ``encode``.
    """

    span: Span
    mode: CutMode


def clip_name(span: Span, mode: str, **encoding: str | float | bool) -> str:
    """Name a clip file by all that makes it what it is, so that no stale file passes for another.

    Args:
        span: What is wanted, in seconds; the name carries milliseconds.
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
    upright, with sides made even, at the source's times.

    ``exact`` holds the same frames at the same times, but copies whole groups of pictures. It encodes only the frames
    before the first of them and, with B-frames, the last few, to H.264 with x264's fastest preset at ``encoding.crf``.
    It keeps the rotation as metadata. A span without an IDR frame is encoded whole, by the same fast preset. Where
    nothing else can be done it does what ``encode`` does, and says so: for other codecs than H.264 in 8-bit 4:2:0,
    interlaced video, open groups of pictures, a file whose packets are damaged. Damage within a picture, which shows
    only when it is decoded, is copied along: where it is known, ask for ``encode``.

    ``copy`` copies packets, from that key frame on, so that its clip begins early by up to the distance between key
    frames, and may end late by a few frames on which earlier ones depend. It keeps the rotation as metadata. What does
    not go into an MP4, such as VP8, is an error.

    Sound is copied in all modes: it starts and ends within one packet (about 20 ms) of the picture. A codec that an MP4
    does not hold everywhere (PCM, Vorbis, MP2, WMA, AMR) is encoded to AAC, mono or stereo.

    Args:
        source: A local video file.
        span: What to cut, in seconds from the first picture.
        dest: The clip file; its folder is made. It appears complete or not at all.
        mode: ``exact``, ``encode`` or ``copy``.
        encoding: How ``encode`` does it.
        audio: Whether to keep the sound.

    Returns:
        What the clip really holds, and how it was made.

    Raises:
        VideoError: The source cannot be read, or has no frame within the span.
        ConfigError: The clip cannot be written: no space, no permission.
    """
    try:
        with _moved_into_place(dest) as temporary:
            if mode == "exact":
                try:
                    return _write(source, span, temporary, mode="exact", encoding=encoding, audio=audio)
                except NoKeyFrameError:  # all of it is a seam
                    mode, encoding = "encode", replace(encoding, preset=SEAM_PRESET)
                except (NotExactError, UnitError, av.FFmpegError):
                    mode = "encode"
            return _write(source, span, temporary, mode=mode, encoding=encoding, audio=audio)
    except OSError as error:  # reading errors have become VideoError further down
        raise ConfigError(f"Cannot write the clip {dest} ({error.strerror or error}); mend space or rights.") from error
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(
            VideoFault.UNREADABLE, f"{source} cannot be cut at {span.start_s:.3f} s ({error}); re-encode it first."
        ) from error


def _write(source: str, span: Span, path: Path, *, mode: CutMode, encoding: Encoding, audio: bool) -> ClipFile:
    # The index goes to the front, so that an endpoint can play the clip while it is still fetching it.
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
        if audio:  # the muxer holds it back until the picture catches up
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
    """Give a temporary path beside ``dest``; move it there at the end, or remove it if anything went wrong."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    temporary = dest.with_name(f".{dest.stem}.{uuid4().hex}.part")
    try:
        yield temporary
        temporary.replace(dest)
    finally:
        temporary.unlink(missing_ok=True)
