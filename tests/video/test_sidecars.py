"""Which file beside a video is read, by names as players and media servers take them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lvqa_ray.video.audio.languages import match
from lvqa_ray.video.audio.sidecars import named
from lvqa_ray.video.audio.subtitles import Sidecar, sidecar_of

NAMES: dict[str, tuple[str, set[str]] | None] = {
    "film.srt": ("", set()),
    "film.SRT": ("", set()),
    "film.en.srt": ("en", set()),
    "film.eng.srt": ("eng", set()),
    "film.en-US.srt": ("en-US", set()),
    "film.pt_BR.vtt": ("pt_BR", set()),
    "film.zh-Hans.vtt": ("zh-Hans", set()),
    "film.chs.ass": ("chs", set()),
    "film.English.srt": ("English", set()),
    "film.en.forced.srt": ("en", {"forced"}),
    "film.forced.en.srt": ("en", {"forced"}),
    "film.en.sdh.srt": ("en", {"sdh"}),
    "film.sdh.en.srt": ("en", {"sdh"}),
    "film.en.hi.srt": ("en", {"hi"}),
    "film.hi.srt": ("hi", set()),
    "film.hi.en.srt": ("en", {"hi"}),
    "film.forced.srt": ("", {"forced"}),
    "film.en.default.ass": ("en", {"default"}),
    "film.en.2.srt": ("en", set()),
    "film(en).srt": ("en", set()),
    "film [English].srt": ("English", set()),
    "film.en-orig.vtt": ("en", set()),
    "film.part2.srt": None,
    "film.2.srt": None,
    "film 2.srt": None,
    "film-trailer.srt": None,
    "films.srt": None,
    "film.directors.cut.en.srt": None,
    "film.en.txt": None,
    "other.en.srt": None,
}


@pytest.mark.parametrize(("name", "says"), NAMES.items(), ids=NAMES)
def test_what_a_name_says(name: str, says: tuple[str, set[str]] | None) -> None:
    found = named("film", name)
    assert (found and (found.language, set(found.flags))) == says


CHOICES: dict[str, tuple[list[str], tuple[str, ...], tuple[str, str] | None]] = {
    "none": ([], (), None),
    "no language": (["film.srt", "film.en.srt"], (), ("film.srt", "")),
    "the only language": (["film.de.srt"], (), ("film.de.srt", "de")),
    "English of several": (["film.ar.srt", "film.eng.srt", "film.fr.srt"], (), ("film.eng.srt", "eng")),
    "the first of several others": (["film.fr.srt", "film.ar.srt"], (), ("film.ar.srt", "ar")),
    "the one marked as default": (["film.en.srt", "film.fr.default.srt"], (), ("film.fr.default.srt", "fr")),
    "all before foreign lines alone": (["film.en.forced.srt", "film.de.srt"], (), ("film.de.srt", "de")),
    "foreign lines where there is nothing else": (["film.en.forced.srt"], (), ("film.en.forced.srt", "en")),
    "plain before descriptions of sounds": (["film.en.sdh.srt", "film.en.srt"], (), ("film.en.srt", "en")),
    "descriptions of sounds before foreign lines": (
        ["film.en.forced.srt", "film.en.sdh.srt"],
        ("en",),
        ("film.en.sdh.srt", "en"),
    ),
    "wanted": (["film.srt", "film.en.srt", "film.de.vtt"], ("de",), ("film.de.vtt", "de")),
    "wanted in two letters, there in three": (["film.ger.srt", "film.srt"], ("de",), ("film.ger.srt", "ger")),
    "wanted without a region": (["film.en-GB.srt"], ("en",), ("film.en-GB.srt", "en-GB")),
    "the same region first": (["film.en-GB.srt", "film.en-US.srt"], ("en-US",), ("film.en-US.srt", "en-US")),
    "another script is another language": (["film.zh-Hant.srt"], ("zh-Hans",), None),
    "in order of preference": (["film.fr.srt", "film.de.srt"], ("it", "fr", "de"), ("film.fr.srt", "fr")),
    "none of those wanted": (["film.fr.srt", "film.srt"], ("de",), ("film.srt", "")),
    "only others": (["film.fr.srt"], ("de",), None),
    "another video's": (["film.en.srt", "film.en.mp4"], (), None),
}


@pytest.mark.parametrize(("names", "languages", "read"), CHOICES.values(), ids=CHOICES)
def test_which_file_is_read(
    tmp_path: Path, names: list[str], languages: tuple[str, ...], read: tuple[str, str] | None
) -> None:
    for name in ("film.mp4", *names):
        (tmp_path / name).touch()
    expected = read and Sidecar(tmp_path / read[0], read[1])
    assert sidecar_of(str(tmp_path / "film.mp4"), languages) == expected


def test_a_file_that_comes_later_is_seen(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.touch()
    assert sidecar_of(str(film), ()) is None
    (tmp_path / "film.en.srt").touch()
    assert sidecar_of(str(film), ()) == Sidecar(tmp_path / "film.en.srt", "en")
    os.utime(tmp_path, (1, 1))  # a folder that has not changed for long is listed once
    for _ in range(2):
        assert sidecar_of(str(film), ()) == Sidecar(tmp_path / "film.en.srt", "en")
    (tmp_path / "film.srt").touch()
    assert sidecar_of(str(film), ()) == Sidecar(tmp_path / "film.srt")


FITS = {("en", "EN"): 3, ("en", "eng"): 2, ("zh-Hans", "chs"): 2, ("en", "en-US"): 1, ("en-US", "en"): 1}
FITS |= {("en-US", "en-GB"): 0, ("klingon", "Klingon"): 3, ("", "en"): 0, ("no", "nb"): 0}


@pytest.mark.parametrize(("pair", "how"), FITS.items())
def test_how_well_a_tag_fits(pair: tuple[str, str], how: int) -> None:
    assert match(*pair) == how
