"""Choice of a video's subtitle file by name: ``film.srt``, ``film.en.srt``, ``film.zh-Hans.vtt``.

The naming rules are those of players and media servers (mpv, Jellyfin, Plex, Kodi): the video's name, then a language
and flags in any order, separated by full stops or in brackets. Any other part means that the file belongs to another
video.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lvqa_ray.video.audio.languages import language, match

SUBTITLE_FORMATS = {".srt": "srt", ".vtt": "webvtt", ".ass": "ass", ".ssa": "ass"}
"""FFmpeg's demuxer for each suffix of a subtitle file, in order of preference."""
FORCED = frozenset({"forced", "foreign"})
"""Flags of files that hold only the lines spoken in a foreign language."""
HEARING = frozenset({"sdh", "cc", "hi"})
"""Flags of files that also describe sounds."""
_FLAGS = FORCED | HEARING | {"default", "full", "orig", "original", "auto", "subtitle", "subtitles", "sub", "subs"}
_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_ORIGINAL = re.compile(r"-orig$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Named:
    """Parsed name of a subtitle file.

    Attributes:
        name: The file name.
        language: Its language as the name spells it, or empty.
        flags: Its flags, in lower case.
    """

    name: str
    language: str
    flags: frozenset[str]

    @property
    def format_place(self) -> int:
        """Index of its suffix in `SUBTITLE_FORMATS`."""
        return list(SUBTITLE_FORMATS).index(self.name[self.name.rindex(".") :].casefold())

    @property
    def order(self) -> tuple[bool, bool, bool, int, str]:
        """Sort key for files of one language: first those with all of the speech and nothing else."""
        flags = self.flags
        return (bool(flags & FORCED), bool(flags & HEARING), "default" not in flags, self.format_place, self.name)


def named(stem: str, name: str) -> Named | None:
    """Parse the name of a subtitle file; ``None`` if it does not belong to the video with this stem."""
    begin, dot, suffix = name.rpartition(".")
    own, whole = (unicodedata.normalize("NFC", text) for text in (stem, begin))
    if not dot or f".{suffix.casefold()}" not in SUBTITLE_FORMATS or not whole.startswith(own):
        return None
    found, flags = "", set[str]()
    for part in _parts(whole[len(own) :]):
        plain = _ORIGINAL.sub("", part)
        # "hi" is Hindi; after a language it is a flag (hearing impaired).
        if part.casefold() in _FLAGS and not (part.casefold() == "hi" and not found):
            flags.add(part.casefold())
        elif language(plain) and (not found or found.casefold() == "hi"):
            flags |= {"hi"} if found else set()
            found = plain
        elif not (part.isdecimal() and found):  # a number: one of several files in this language
            return None
    return Named(name, found, frozenset(flags))


def _parts(text: str) -> Iterator[str]:
    """Parts of a name after the stem; one invalid part if the text does not begin with a separator."""
    if text and not text.startswith((".", "(", "[", " (", " [")):
        yield "\0"
        return
    yield from (part for part in _BRACKETS.sub(r".\1", text).replace(" ", ".").split(".") if part)


def chosen(stem: str, names: Iterable[str], languages: Sequence[str]) -> Named | None:
    """Choose one of the subtitle files beside a video.

    Args:
        stem: The video's name without its suffix.
        names: File names in its folder.
        languages: Wanted languages in order of preference. If empty: the file without a language, else the default or
            English one, else the first by name.
    """
    found = sorted(filter(None, (named(stem, name) for name in names)), key=lambda one: one.order)
    for wanted in languages:
        fitting = [(match(wanted, one.language), one) for one in found if one.language]
        best = max((how for how, _ in fitting), default=0)
        if best:
            return next(one for how, one in fitting if how == best)
    bare = next((one for one in found if not one.language), None)
    if bare or languages or not found:
        return bare
    # Files with only the foreign-language lines are a last resort.
    whole = [one for one in found if not one.flags & FORCED] or found
    marked = [one for one in whole if "default" in one.flags]
    english = [one for one in whole if match("en", one.language)]
    return next(iter([*marked, *english, *whole]))
