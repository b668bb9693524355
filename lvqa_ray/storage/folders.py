"""Files below a folder of a disk, symbolic links followed: each file once, and nothing left out in silence.

A file that several ways lead to counts once, under the way without links, or else the first by name. A folder is
entered once, so that a link to a folder above ends there. Hard links and copies are files of their own.

What cannot be a video although its name says so (a link that leads nowhere, a pipe, a socket, a folder without videos)
is among the files all the same, and so is a folder that cannot be listed: the probe makes a failure of each.
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
    """The files below a folder, in order.

    Args:
        folder: Where to look; to any depth, unless the pattern bounds it.
        suffixes: Only files that end so, in capitals or not; a pattern takes all that it matches.
        pattern: Only paths below the folder that match.
        without: A folder that is not entered.
    """
    walk = _Walk(folder, suffixes, pattern, without)
    return sorted(walk.files.values(), key=lambda path: path.split("/"))


class _Walk:
    """One walk.

    Attributes:
        files: What was found, by its real path.
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
        self._links: list[tuple[str, int]] = []  # followed when all that is found without them is known
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
            # It may have been a folder of videos, if its name is that of no other file.
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
    from fsspec.utils import glob_translate  # noqa: PLC0415 - who names no pattern need not load it

    return re.compile(glob_translate(pattern)).match
