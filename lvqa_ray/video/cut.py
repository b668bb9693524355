"""Clip files: a span of a video as an MP4 of its own, re-encoded exactly or copied between key frames.

In this process, with the codecs that PyAV carries. The decoder starts at the key frame before the span, so that a clip
costs the same wherever it lies in the video.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from uuid import uuid4

import av

from lvqa_ray.errors import ConfigError, VideoError, VideoFault
from lvqa_ray.records import Span
from lvqa_ray.video.cut_copy import CopiedPicture, copy_sound
from lvqa_ray.video.cut_encode import EncodedPicture
from lvqa_ray.video.source import no_frames, open_source

CutMode = Literal["encode", "copy"]


def clip_name(span: Span, mode: CutMode, **encoding: str | float | bool) -> str:
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
    crf: int = 23,
    preset: str = "veryfast",
    audio: bool = True,
) -> Span:
    """Cut one clip out of a video.

    ``encode`` decodes from the key frame before the span and re-encodes exactly the frames that appear within it to
    H.264, upright, with sides made even, at the source's times. ``copy`` copies packets, from that key frame on, so
    that its clip begins early by up to the distance between key frames, and keeps the rotation as metadata; it cannot
    copy AV1.

    Sound is copied in both modes, never re-encoded: it starts and ends within one packet (about 20 ms) of the picture.
    A codec that an MP4 does not hold everywhere (PCM, Vorbis) is left out.

    Args:
        source: A local video file.
        span: What to cut, in seconds from the first picture.
        dest: The clip file; its folder is made. It appears complete or not at all.
        mode: ``encode`` or ``copy``.
        crf: Quality of ``encode``, 0 (best) to 51.
        preset: x264's speed preset for ``encode``.
        audio: Whether to keep the sound.

    Returns:
        The span that the clip really holds, in seconds of the source.

    Raises:
        VideoError: The source cannot be read, or has no frame within the span.
        ConfigError: The clip cannot be written: no space, no permission.
    """
    try:
        with _moved_into_place(dest) as temporary:
            return _write(source, span, temporary, mode=mode, crf=crf, preset=preset, audio=audio)
    except OSError as error:  # reading errors have become VideoError further down
        raise ConfigError(f"Cannot write the clip {dest} ({error.strerror or error}); mend space or rights.") from error
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(
            VideoFault.UNREADABLE, f"{source} cannot be cut at {span.start_s:.3f} s ({error}); re-encode it first."
        ) from error


def _write(source: str, span: Span, path: Path, *, mode: CutMode, crf: int, preset: str, audio: bool) -> Span:
    # The index goes to the front, so that an endpoint can play the clip while it is still fetching it.
    with (
        open_source(source) as video,
        av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as output,
    ):
        picture = (
            EncodedPicture(video, output, span, crf=crf, preset=preset)
            if mode == "encode"
            else CopiedPicture(video, output, span)
        )
        if audio:  # the muxer holds it back until the picture catches up
            for sound in copy_sound(source, output, Span(start_s=picture.start_s, end_s=span.end_s)):
                output.mux(sound)
        for packet in picture.packets():
            output.mux(packet)
    if picture.end_s <= span.start_s:
        raise no_frames(f"{source} between {span.start_s:.3f} s and {span.end_s:.3f} s")
    return Span(start_s=picture.start_s, end_s=picture.end_s)


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
