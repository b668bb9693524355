"""Which file beside a video holds its subtitles, told by names: ``film.srt``, ``film.en.srt``, ``film.zh-Hans.vtt``.

The names are those that players and media servers take (mpv, Jellyfin, Plex, Kodi): the video's own, then a language
and flags in any order, set off by full stops, and in brackets too. A part that is neither belongs to another video.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lvqa_ray.video.audio.languages import language, match

SUBTITLE_FORMATS = {".srt": "srt", ".vtt": "webvtt", ".ass": "ass", ".ssa": "ass"}
"""FFmpeg's demuxer for each suffix of a file beside a video, in the order in which they are looked for."""
FORCED = frozenset({"forced", "foreign"})
"""Flags of files that hold the lines in a foreign language alone."""
HEARING = frozenset({"sdh", "cc", "hi"})
"""Flags of files that describe sounds too."""
_FLAGS = FORCED | HEARING | {"default", "full", "orig", "original", "auto", "subtitle", "subtitles", "sub", "subs"}
_BRACKETS = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_ORIGINAL = re.compile(r"-orig$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Named:
    """What the name of a file beside a video says.

    Attributes:
        name: The file's name.
        language: Its language as the name spells it, or empty.
        flags: Its flags, in lower case.
    """

    name: str
    language: str
    flags: frozenset[str]

    @property
    def format_place(self) -> int:
        """Place of its suffix among `SUBTITLE_FORMATS`."""
        return list(SUBTITLE_FORMATS).index(self.name[self.name.rindex(".") :].casefold())

    @property
    def order(self) -> tuple[bool, bool, bool, int, str]:
        """Sorts files of one language: those that tell all that is said, and no more, first."""
        flags = self.flags
        return (bool(flags & FORCED), bool(flags & HEARING), "default" not in flags, self.format_place, self.name)


def named(stem: str, name: str) -> Named | None:
    """What the name of a file says if it belongs to the video of a stem; ``None`` if it does not."""
    begin, dot, suffix = name.rpartition(".")
    own, whole = (unicodedata.normalize("NFC", text) for text in (stem, begin))
    if not dot or f".{suffix.casefold()}" not in SUBTITLE_FORMATS or not whole.startswith(own):
        return None
    spoken, flags = "", set[str]()
    for part in _parts(whole[len(own) :]):
        plain = _ORIGINAL.sub("", part)
        # "hi" is Hindi, but behind a language it says that sounds are described.
        if part.casefold() in _FLAGS and not (part.casefold() == "hi" and not spoken):
            flags.add(part.casefold())
        elif language(plain) and (not spoken or spoken.casefold() == "hi"):
            flags |= {"hi"} if spoken else set()
            spoken = plain
        elif not (part.isdecimal() and spoken):  # of several files in one language
            return None
    return Named(name, spoken, frozenset(flags))


def _parts(text: str) -> Iterator[str]:
    """The parts of a name behind the stem; a text that begins in any other way is one part that means nothing."""
    if text and not text.startswith((".", "(", "[", " (", " [")):
        yield "\0"
        return
    yield from (part for part in _BRACKETS.sub(r".\1", text).replace(" ", ".").split(".") if part)


def chosen(stem: str, names: Iterable[str], languages: Sequence[str]) -> Named | None:
    """The file to read of those beside a video.

    Args:
        stem: The video's name without its suffix.
        names: Names of files in its folder.
        languages: Wanted languages in order of preference. Without any: the file that names none; else English where
            there are several languages, else the first by name.
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
    # Lines in a foreign language alone are no account of what is said, where there is anything else.
    whole = [one for one in found if not one.flags & FORCED] or found
    marked = [one for one in whole if "default" in one.flags]
    english = [one for one in whole if match("en", one.language)]
    return next(iter([*marked, *english, *whole]))
