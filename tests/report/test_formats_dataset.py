"""Where a data set for the hub can be put."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.errors import ConfigError
from lvqa_ray.report.dataset import export_dataset
from tests.report.made import make_output


def test_a_folder_that_cannot_be_replaced_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = OutputReader(make_output(tmp_path / "out", 2))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for to in (Path(), here, Path(".."), Path("/")):
        with pytest.raises(ConfigError, match="cannot be replaced by the data set; name a folder"):
            export_dataset(out, to)
    assert not list(here.iterdir())


def test_a_relative_name_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = OutputReader(make_output(tmp_path / "out", 2))
    monkeypatch.chdir(tmp_path)
    export_dataset(out, Path("hf"))
    assert (tmp_path / "hf" / "README.md").is_file()
