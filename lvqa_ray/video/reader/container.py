"""Opening of video files; refuses unusable and dangerous ones with one clear sentence."""

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

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.video.reader.container_formats import HEAD_BYTES, list_kind, open_input, raise_if_out_of_memory
from lvqa_ray.video.reader.picture_track import picture_tracks

MAX_SIDE = 16_384
MAX_PIXELS = 8_192 * 8_192

_open_file: ContextVar[Callable[[str], io.RawIOBase] | None] = ContextVar("_open_file", default=None)


@contextmanager
def files_opened_by(open_file: Callable[[str], io.RawIOBase]) -> Iterator[None]:
    """Open files with ``open_file`` while the block runs, for files that are not on a local disk.

    Args:
        open_file: Takes a path and returns a seekable file. Its `OSError` counts as damage of the file; other errors
            propagate.
    """
    before = _open_file.set(open_file)
    try:
        yield
    finally:
        _open_file.reset(before)


def is_elsewhere() -> bool:
    """Whether files are currently read in parts from elsewhere than a local disk."""
    return _open_file.get() is not None


def opened_elsewhere(path: str) -> io.RawIOBase | None:
    """Open a remote file, see `files_opened_by`; ``None`` if files are local."""
    open_file = _open_file.get()
    return open_file(path) if open_file else None


def check_dimensions(path: str, width: int, height: int) -> None:
    """Refuse frames without a size, and frames so large that a worker would run out of memory.

    Raises:
        VideoError: With `VideoFault.BAD_DIMENSIONS`.
    """
    if width < 1 or height < 1:
        raise VideoError(
            VideoFault.BAD_DIMENSIONS,
            f"{path} states a frame size of {width}x{height} pixels; re-encode it or leave it out.",
        )
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise VideoError(
            VideoFault.BAD_DIMENSIONS,
            f"{path} has frames of {width}x{height} pixels, more than this pipeline decodes "
            f"({MAX_SIDE} a side, {MAX_PIXELS:,} in all); scale it down first.",
        )


def check_file(path: str) -> None:
    """Refuse a path that is not a readable, non-empty file.

    Raises:
        VideoError: With the reason.
    """
    if _open_file.get():
        return
    try:
        found = Path(path).stat()
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(path):  # a folder without permission gets the message about permissions below
                pass
            raise VideoError(VideoFault.UNREADABLE, f"{path} is a folder; name the video files in it instead.")
        if not stat.S_ISREG(found.st_mode):  # opening a pipe blocks until a writer comes; reading it may never end
            raise VideoError(
                VideoFault.UNREADABLE, f"{path} is a pipe or a device, not a file; copy its content to a file."
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
    """Open FFmpeg's demuxer of a file.

    Raises:
        VideoError: FFmpeg cannot read it, or its format is not allowed (see `container_formats`).
    """
    if open_file := _open_file.get():
        return _open_elsewhere(path, open_file(path))
    try:
        return open_input(path)
    except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
        raise_if_out_of_memory(error)
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EIO):
            raise VideoError(VideoFault.UNREADABLE, f"{path} cannot be read ({error}); check its disk.") from error
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head[4:8] == b"ftyp":
            raise VideoError(
                VideoFault.UNREADABLE,
                f"{path} is an MP4 without a usable index (moov): it was cut short, or is still being written; "
                "fetch it again.",
            ) from error
        raise _no_video(path, head) from error


def _open_elsewhere(path: str, file: io.RawIOBase) -> InputContainer:
    try:
        return open_input(file)
    except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
        file.seek(0)
        raise _no_video(path, file.read(HEAD_BYTES) or b"") from error


def _no_video(path: str, head: bytes) -> VideoError:
    if kind := list_kind(head):
        return VideoError(
            VideoFault.NOT_A_VIDEO,
            f"{path} is {kind} and not a video; what it names is never opened: list the video files themselves.",
        )
    return VideoError(
        VideoFault.NOT_A_VIDEO,
        f"{path} is not a video in a supported format, or it is cut short, whatever its name says; replace it.",
    )


def picture_stream(path: str, container: InputContainer) -> VideoStream:
    """Choose the main video track, see `picture_tracks`; a cover image does not count.

    Raises:
        VideoError: There is none, or none that can be decoded here.
    """
    for stream in picture_tracks(container, lambda: open_container(path)):
        if stream.codec_context is None:
            raise VideoError(
                VideoFault.UNREADABLE,
                f"{path} uses a video codec that cannot be decoded here; convert it to H.264.",
            )
        return stream
    what = "only audio" if container.streams.audio else "neither video nor audio"
    raise VideoError(VideoFault.NO_VIDEO_STREAM, f"{path} holds {what}: no video stream; leave it out of the corpus.")


def frame_rate(stream: VideoStream) -> Fraction | None:
    """Frames per second that the file states; ``None`` if there is no plausible value."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and rate.denominator and 0 < rate.numerator / rate.denominator <= 1000:
            return Fraction(rate.numerator, rate.denominator)
    return None
