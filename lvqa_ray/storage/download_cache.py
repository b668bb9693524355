"""Download cache on the local disk of a node: each remote file is fetched once, and evicted when space is needed (LRU).

The workers of a node share it through file locks: a reader of a file holds a shared lock, a writer or remover an
exclusive one. The operating system releases the locks of dead processes.
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
from lvqa_ray.storage.retries import not_wanted

WAIT_S = 900.0
DISK_SPACE_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class DownloadCache:
    """Download cache of a node.

    Attributes:
        folder: Cache folder; empty for a folder of this user below the system's temporary folder.
        most_bytes: Maximum total size of all files.
        access: Options of object stores.
        largest: Maximum size of one file, and the setting that holds it; ``None`` for ``most_bytes``.
        stopped: Returns true when a running download is no longer needed.
    """

    folder: str
    most_bytes: int
    access: StorageOptions = field(default_factory=StorageOptions)
    largest: tuple[int, str] | None = None
    stopped: Callable[[], bool] = bool  # never stopped

    @contextmanager
    def local(self, video: Video) -> Iterator[str]:
        """Pin a video on the local disk and give its path, valid within the block; a local video is used in place.

        Raises:
            FetchError: The download failed; the message has the redacted address.
        """
        if not is_remote(video.uri):
            yield video.uri
            return
        try:
            file = self._held(video)
        except OSError as error:
            raise FetchError(
                "no_room",
                f"{redact_url(video.uri)} cannot be put into {self.root} ({error.strerror}); set engine.scratch_dir.",
                retryable=True,
            ) from None
        with file:
            yield file.name

    @property
    def root(self) -> Path:
        """The folder on this node."""
        return Path(self.folder) if self.folder else Path(tempfile.gettempdir()) / f"lvqa-scratch-{os.getuid()}"

    def _held(self, video: Video) -> IO[bytes]:
        """Open the cached file with a shared lock, which prevents its removal; downloads it if needed."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.root / _name(video)
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
                return  # another worker has fetched it meanwhile, or failed to
            try:
                out.truncate(0)  # remove the data of a killed download
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
        """Evict the least recently used files, and reserve the space by extending the file to its final size."""
        until = time.monotonic() + WAIT_S
        while True:
            with (self.root / ".room").open("ab") as room:
                fcntl.flock(room, fcntl.LOCK_EX)
                if self._freed(size):
                    out.truncate(size)
                    return
            if self.stopped():
                raise not_wanted(uri)
            if time.monotonic() > until:
                raise FetchError(
                    "no_room",
                    f"there was no space for {redact_url(uri)} in {self.root} for {WAIT_S:.0f} s, because all its "
                    "files are in use; raise engine.scratch_gb.",
                    retryable=True,
                )
            time.sleep(DISK_SPACE_POLL_S)

    def _freed(self, size: int) -> bool:
        found = []
        for path in self.root.iterdir():
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
    """File name of this version of the file; the suffix helps FFmpeg to guess the container."""
    digest = hashlib.sha256(f"{video.uri}\0{video.fingerprint}".encode(errors="surrogateescape")).hexdigest()[:32]
    suffix = suffix_of(video.uri)
    return digest + (suffix if suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) < 8 else "")


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one at that path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _removed(path: Path) -> bool:
    """Remove a file unless it is in use; whether it is gone."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
