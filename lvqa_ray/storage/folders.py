"""Directory walk that follows symbolic links, lists each file once and omits nothing silently.

A file with several paths is listed under the path without links, or else under the first by name. Each folder is
entered once, so links to a parent folder do not loop. Hard links and copies are separate files.

Entries with a video's name that are no file (a broken link, a pipe, a socket, a folder without videos) are listed too,
and so is a folder that cannot be listed: the probe turns each into a failure.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection
from pathlib import Path
from posixpath import splitext


def files_below(
    folder: Path, suffixes: Collection[str], *, pattern: str = "", without: Path | None = None
) -> list[str]:
    """The files below a folder, sorted by path.

    Args:
        folder: The root, searched to any depth unless the pattern limits it.
        suffixes: File suffixes in lower case, compared without case; ignored if there is a pattern.
        pattern: Glob pattern for the path below the folder.
        without: A folder to skip.
    """
    walk = _Walk(folder, suffixes, pattern, without)
    return sorted(walk.files.values(), key=lambda path: path.split("/"))


class _Walk:
    """One directory walk.

    Attributes:
        files: Paths found, by real path.
    """

    def __init__(self, folder: Path, suffixes: Collection[str], pattern: str, without: Path | None) -> None:
        self.files: dict[str, str] = {}
        self._suffixes = suffixes
        self._any_suffix = bool(pattern)
        self._matches = _matcher(pattern)
        parts = pattern.split("/")
        self._folders = None if not pattern or "**" in parts else [_matcher(part) for part in parts[:-1]]
        self._root = f"{str(folder).rstrip('/')}/"
        self._barred = None if without is None else os.path.realpath(without)
        self._entered: set[str] = set()
        self._links: list[tuple[str, int]] = []  # followed last, so that paths without links take precedence
        self._enter(str(folder), os.path.realpath(folder), 0)
        while self._links:
            now, self._links = sorted(self._links), []
            for path, depth in now:
                self._follow(path, depth)

    def _enter(self, path: str, real: str, depth: int) -> None:
        if real in self._entered or (self._barred and f"{real}/".startswith(f"{self._barred}/")):
            return
        self._entered.add(real)
        try:
            with os.scandir(path) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            self.files.setdefault(real, path)
            return
        for entry in inside:
            if entry.is_symlink():
                self._links.append((entry.path, depth))
            else:
                self._take(entry.path, f"{real.rstrip('/')}/{entry.name}", depth, is_folder=entry.is_dir())

    def _follow(self, path: str, depth: int) -> None:
        real, name = os.path.realpath(path), path.rpartition("/")[2]
        try:
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - a path of any bytes
        except OSError:
            # A name without a suffix may be that of a folder of videos.
            if self._is_wanted(path) or (not splitext(name)[1] and self._is_entered(name, depth)):
                self.files.setdefault(path, path)
            return
        self._take(path, real, depth, is_folder=is_folder)

    def _take(self, path: str, real: str, depth: int, *, is_folder: bool) -> None:
        if not is_folder:
            if self._is_wanted(path):
                self.files.setdefault(real, path)
            return
        before = len(self.files), len(self._links)
        if self._is_entered(path.rpartition("/")[2], depth):
            self._enter(path, real, depth + 1)
        if self._is_video(path) and self._is_wanted(path) and before == (len(self.files), len(self._links)):
            self.files.setdefault(real, path)

    def _is_entered(self, name: str, depth: int) -> bool:
        return self._folders is None or (depth < len(self._folders) and bool(self._folders[depth](name)))

    def _is_wanted(self, path: str) -> bool:
        return (self._any_suffix or self._is_video(path)) and bool(self._matches(path.removeprefix(self._root)))

    def _is_video(self, path: str) -> bool:
        return splitext(path)[1].lower() in self._suffixes


def _matcher(pattern: str) -> Callable[[str], object]:
    if not pattern:
        return bool
    from fsspec.utils import glob_translate  # noqa: PLC0415 - only needed for patterns

    return re.compile(glob_translate(pattern)).match
