"""Download of the sample video: ten minutes of Big Buck Bunny from a published source distribution.

moviepy 2.1.2 has the video in its documentation. pip downloads the distribution from the user's configured index. Both
are verified by pinned SHA-256 checksums, and the video is stored in the user's cache folder.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lvqa_ray.demo.pip_download import PipDownload, cache_folder, sha256
from lvqa_ray.errors import ConfigError

CREDIT = "Big Buck Bunny, (c) copyright 2008, Blender Foundation, www.bigbuckbunny.org, CC BY 3.0"
_HINT = "Give a film of your own instead: lvqa demo --film PATH."


@dataclass(frozen=True, slots=True)
class Source:
    """Location of a video: distribution, zip archive in it, file in that; and its name in the cache folder."""

    project: str = "moviepy"
    version: str = "2.1.2"
    sdist_sha256: str = "22c57a7472f607eaad9fe80791df67c05082e1060fb74817c4eaac68e138ee77"
    archive: str = "docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip"
    member: str = "moviepy_10_minutes/resources/bbb.mp4"
    film_sha256: str = "475fbbf34c4c367998f80c29ea03b15a743941179b12da3373fc6706e68621d0"
    name: str = "big_buck_bunny_720p.mp4"


BIG_BUCK_BUNNY = Source()


def fetch_film(cache_dir: Path | None = None, source: Source = BIG_BUCK_BUNNY) -> Path:
    """Return the sample video as a local file; the first call downloads it (58 MB) to the cache folder.

    Raises:
        ConfigError: The download failed, or the checksum differs.
    """
    folder = cache_dir or cache_folder()
    film = folder / source.name
    if film.is_file() and sha256(film) == source.film_sha256:
        return film
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
            _extract(_download(source, Path(scratch)), source).replace(film)
    except OSError as error:
        raise ConfigError(f"The sample film cannot be kept in {folder}: {error.strerror or error}. {_HINT}") from error
    return film


def _download(source: Source, folder: Path) -> Path:
    return PipDownload(source.project, source.version, "sdist", "the sample film", _HINT).fetch(folder)


def _extract(sdist: Path, source: Source) -> Path:
    """Verify the distribution, extract the video next to it, and verify that too."""
    wanted = f"{source.project} {source.version}"
    if sha256(sdist) != source.sdist_sha256:
        raise ConfigError(f"{wanted} does not have the pinned checksum; not used. {_HINT}")
    film = sdist.with_name("film.partial")
    try:
        with tarfile.open(sdist) as outer:
            packed = outer.extractfile(f"{source.project}-{source.version}/{source.archive}")
            if packed is None:
                raise KeyError(source.archive)
            with zipfile.ZipFile(packed) as inner, inner.open(source.member) as stream, film.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"{wanted} does not hold the film where it should. {_HINT}") from error
    if sha256(film) != source.film_sha256:
        raise ConfigError(f"The film in {wanted} does not have the pinned checksum. {_HINT}")
    return film
