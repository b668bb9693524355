"""Opening a file for reading, and refusing what is no video or would harm who decodes it, in one clear sentence."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from lvqa_ray.errors import VideoError, VideoFault

# PyAV 18 refuses a file whose tags are not UTF-8 unless it is told what to do; 19 replaces them and has no such option.
_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
MAX_SIDE = 16_384
MAX_PIXELS = 8_192 * 8_192

_open_file: ContextVar[Callable[[str], io.RawIOBase] | None] = ContextVar("_open_file", default=None)


@contextmanager
def files_opened_by(open_file: Callable[[str], io.RawIOBase]) -> Iterator[None]:
    """Read files that are not on a local disk while the block runs: paths are then given to ``open_file``.

    Args:
        open_file: Gives a file that can be read and sought in; `OSError` from it is damage of the file. Other errors
            pass through.
    """
    before = _open_file.set(open_file)
    try:
        yield
    finally:
        _open_file.reset(before)


def check_dimensions(path: str, width: int, height: int) -> None:
    """Refuse pictures of no size, and those that would eat a worker's memory.

    Raises:
        VideoError: With `VideoFault.BAD_DIMENSIONS`.
    """
    if width < 1 or height < 1:
        raise VideoError(
            VideoFault.BAD_DIMENSIONS,
            f"{path} says its picture is {width}x{height} pixels; re-encode it or leave it out.",
        )
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise VideoError(
            VideoFault.BAD_DIMENSIONS,
            f"{path} has a picture of {width}x{height} pixels, more than this pipeline decodes "
            f"({MAX_SIDE} a side, {MAX_PIXELS:,} in all); scale it down first.",
        )


def check_file(path: str) -> None:
    """Refuse what is no file, or one that cannot be read.

    Raises:
        VideoError: Says why.
    """
    if _open_file.get():
        return
    try:
        found = Path(path).stat()
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(path):  # or it is among the videos because it cannot be listed
                pass
            raise VideoError(VideoFault.UNREADABLE, f"{path} is a folder; name the video files in it instead.")
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for its writer, and reading it never end
            raise VideoError(
                VideoFault.UNREADABLE, f"{path} is a pipe or a device, and no file; copy what it gives into a file."
            )
        with Path(path).open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise VideoError(
            VideoFault.MISSING_FILE, f"There is no file {path}; check the path, and that every worker can see it."
        ) from None
    except OSError as error:
        raise VideoError(
            VideoFault.UNREADABLE,
            f"{path} cannot be read ({error.strerror}); check its permissions and its disk.",
            retryable=True,
        ) from error
    if found.st_size == 0:
        raise VideoError(VideoFault.EMPTY_FILE, f"{path} is empty (0 bytes); fetch it again.")


def open_container(path: str) -> InputContainer:
    """The demuxer of a file.

    Raises:
        VideoError: FFmpeg cannot read it.
    """
    if open_file := _open_file.get():
        return _open_elsewhere(path, open_file(path))
    try:
        # The "file:" prefix and the whitelist keep a playlist in disguise from opening URLs or other files.
        container: InputContainer = av.open(f"file:{path}", mode="r", options={"protocol_whitelist": "file"}, **_TAGS)
        return container
    except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
        if isinstance(error, MemoryError):  # no damage of the file
            raise MemoryError from error
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EIO):
            raise VideoError(VideoFault.UNREADABLE, f"{path} cannot be read ({error}); check its disk.") from error
        if _is_mp4(path):
            raise VideoError(
                VideoFault.UNREADABLE,
                f"{path} is an MP4 without a usable index (moov): it was cut short, or is still being written; "
                "fetch it again.",
            ) from error
        raise VideoError(
            VideoFault.NOT_A_VIDEO, f"{path} is not a video that FFmpeg knows, whatever its name says; replace it."
        ) from error


def _open_elsewhere(path: str, file: io.RawIOBase) -> InputContainer:
    try:
        container: InputContainer = av.open(file, mode="r", options={"protocol_whitelist": "none"}, **_TAGS)
        return container
    except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
        raise VideoError(
            VideoFault.NOT_A_VIDEO, f"{path} is not a video that FFmpeg knows, or is cut short; replace it."
        ) from error


def _is_mp4(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def picture_stream(path: str, container: InputContainer) -> VideoStream:
    """The first stream that is a film; a cover picture does not count.

    Raises:
        VideoError: There is none, or none that can be decoded here.
    """
    for stream in container.streams.video:
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails):
            if stream.codec_context is None:
                raise VideoError(
                    VideoFault.UNREADABLE,
                    f"{path} uses a video codec that cannot be decoded here; convert it to H.264.",
                )
            return stream
    what = "only sound" if container.streams.audio else "neither picture nor sound"
    raise VideoError(VideoFault.NO_VIDEO_STREAM, f"{path} holds {what}: no video stream; leave it out of the corpus.")


def frame_rate(stream: VideoStream) -> Fraction | None:
    """Frames per second as the file says, or ``None`` where that cannot be."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and rate.denominator and 0 < rate.numerator / rate.denominator <= 1000:
            return Fraction(rate.numerator, rate.denominator)
    return None
