"""A folder on the node's own disk for remote files: each is fetched once, and goes when others need the room.

All workers of a node share it without knowing each other: who uses a file holds a shared lock on it, who makes or
removes it an exclusive one, and the operating system lets go of the locks of the dead.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from lvqa_ray.errors import FetchError
from lvqa_ray.records import Video, redact_url
from lvqa_ray.records.uri import suffix_of
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.remote import SETTING, download, file_status, is_remote, too_large

WAIT_S = 900.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class DownloadCache:
    """The scratch folder of a node.

    Attributes:
        folder: Where; empty for a folder of this user's below the system's temporary one.
        most_bytes: Most bytes that all files together may have.
        access: How stores are reached.
        largest: Most bytes that one of them may have, and the setting that says so; ``None`` for all.
        stopped: Whether a file that is under way is not wanted any more.
    """

    folder: str
    most_bytes: int
    access: StorageOptions = field(default_factory=StorageOptions)
    largest: tuple[int, str] | None = None
    stopped: Callable[[], bool] = bool  # it is wanted

    @contextmanager
    def local(self, video: Video) -> Iterator[str]:
        """A local path of a video, good for as long as the block runs; a local video's own.

        Raises:
            FetchError: It cannot be had; says why, without what may be secret in its address.
        """
        if not is_remote(video.uri):
            yield video.uri
            return
        try:
            file = self._held(video)
        except OSError as error:
            raise FetchError(
                "no_room",
                f"{redact_url(video.uri)} cannot be put into {self._root} ({error.strerror}); set engine.scratch_dir.",
                retryable=True,
            ) from None
        with file:
            yield file.name

    @property
    def _root(self) -> Path:
        return Path(self.folder) if self.folder else Path(tempfile.gettempdir()) / f"lvqa-scratch-{os.getuid()}"

    def _held(self, video: Video) -> IO[bytes]:
        """The file, open and locked against removal."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._root / _name(video)
        while True:
            with suppress(FileNotFoundError):
                file = path.open("rb")
                fcntl.flock(file, fcntl.LOCK_SH)
                if _is_at(file, path):
                    os.utime(path)
                    return file
                file.close()
            self._fetch(video, path)

    def _fetch(self, video: Video, path: Path) -> None:
        part = path.with_name(f".{path.name}.part")
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            if path.exists() or not _is_at(out, part):
                return  # someone else has fetched it meanwhile, or given up
            try:
                out.truncate(0)  # what a fetch left behind that was killed
                most, setting = self.largest or (self.most_bytes, SETTING)
                size = file_status(video.uri, self.access).size
                if size and size > most:
                    raise too_large(video.uri, size, most, setting)
                self._make_room(video.uri, size or 0, out)
                download(video.uri, out, most, self.access, setting=setting, stopped=self.stopped)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def _make_room(self, uri: str, size: int, out: IO[bytes]) -> None:
        """Remove what was not used for longest, and take the room at once by making the file as long as it will be."""
        until = time.monotonic() + WAIT_S
        while True:
            with (self._root / ".room").open("ab") as room:
                fcntl.flock(room, fcntl.LOCK_EX)
                if self._freed(size):
                    out.truncate(size)
                    return
            if time.monotonic() > until:
                raise FetchError(
                    "no_room",
                    f"there was no room for {redact_url(uri)} in {self._root} for {WAIT_S:.0f} s, because all files in "
                    "it are in use; raise engine.scratch_gb.",
                    retryable=True,
                )
            time.sleep(LOOK_EVERY_S)

    def _freed(self, size: int) -> bool:
        found = []
        for path in self._root.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        used = sum(each for _, each, _ in found)
        for _, each, path in sorted(found):
            if used + size <= self.most_bytes:
                break
            if path.name != ".room" and _removed(path):
                used -= each
        return used + size <= self.most_bytes


def _name(video: Video) -> str:
    """A name for this version of the file; the suffix helps FFmpeg to guess what it is."""
    what = hashlib.sha256(f"{video.uri}\0{video.fingerprint}".encode(errors="surrogateescape")).hexdigest()[:32]
    suffix = suffix_of(video.uri)
    return what + (suffix if suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) < 8 else "")


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _removed(path: Path) -> bool:
    """Remove a file unless it is in use."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
