"""Models of served endpoints: local paths and hub names stay, buckets come through a cache that is never half full."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.storage import model_files
from lvqa_ray.storage.model_files import MODEL_CACHE, local_model
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.remote import download
from tests.fakes.files import bucket, s3_server

WEIGHTS = b"weights" * 1000


def served(model: str) -> ServedEndpoint:
    return ServedEndpoint.model_validate({"engine": "vllm", "model": model})


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with s3_server(tmp_path_factory.mktemp("weed")) as there, pytest.MonkeyPatch.context() as patch:
        for name, value in there.items():
            patch.setenv(name, value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        bucket(there).mkdir("zoo")
        bucket(there).pipe(
            {
                "zoo/qwen/config.json": b"{}",
                "zoo/qwen/part/model-00001-of-00001.safetensors": WEIGHTS,
                "zoo/qwen/README.md": b"not needed",
                "zoo/small.gguf": b"GGUF",
            }
        )
        yield there


def test_a_hub_name_and_a_local_path_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_model(served("Qwen/Qwen2.5-VL-7B-Instruct"), tmp_path, StorageOptions()) == (
        "Qwen/Qwen2.5-VL-7B-Instruct"
    )
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    assert local_model(served("own"), tmp_path, StorageOptions()) == str(tmp_path / "own"), (
        "an engine may have another working folder"
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "own"]


def test_a_folder_in_a_bucket_is_downloaded_once(s3: Mapping[str, str], tmp_path: Path) -> None:
    first = Path(local_model(served("s3://zoo/qwen/"), tmp_path, StorageOptions.here()))
    assert sorted(str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()) == [
        "config.json",
        "part/model-00001-of-00001.safetensors",
    ]
    assert (first / "part/model-00001-of-00001.safetensors").read_bytes() == WEIGHTS
    stamp = (first / "config.json").stat().st_mtime_ns
    assert local_model(served("s3://zoo/qwen"), tmp_path, StorageOptions.here()) == str(first)
    assert (first / "config.json").stat().st_mtime_ns == stamp


def test_a_file_in_a_bucket_keeps_its_name(s3: Mapping[str, str], tmp_path: Path) -> None:
    path = Path(local_model(served("s3://zoo/small.gguf"), tmp_path, StorageOptions.here()))
    assert (path.name, path.read_bytes()) == ("small.gguf", b"GGUF")


def test_a_changed_model_is_another_folder(s3: Mapping[str, str], tmp_path: Path) -> None:
    bucket(s3).pipe_file("zoo/tuned/config.json", b"{}")
    old = local_model(served("s3://zoo/tuned"), tmp_path, StorageOptions.here())
    bucket(s3).pipe_file("zoo/tuned/config.json", b'{"a": 1}')
    new = local_model(served("s3://zoo/tuned"), tmp_path, StorageOptions.here())
    assert new != old
    assert Path(new, "config.json").read_bytes() == b'{"a": 1}'


def test_two_engines_of_a_node_download_a_model_once(
    s3: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def counted(uri: str, *rest: Any, **more: Any) -> None:
        fetched.append(uri)
        download(uri, *rest, **more)

    monkeypatch.setattr(model_files, "download", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda _: local_model(served("s3://zoo/qwen"), tmp_path, StorageOptions.here()), range(4))
        )
    assert len(set(found)) == 1
    assert len(fetched) == 2


def test_a_killed_download_is_never_taken_for_a_model(s3: Mapping[str, str], tmp_path: Path) -> None:
    """The process dies after the first of two files; the next one gets both."""
    code = textwrap.dedent(
        f"""
        import os
        from lvqa_ray.storage import model_files
        from lvqa_ray.storage.options import StorageOptions
        from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
        real, files = model_files.download, []
        def download(uri, *rest, **more):
            real(uri, *rest, **more)
            os.kill(os.getpid(), 9)
        model_files.download = download
        served = ServedEndpoint.model_validate({{"engine": "vllm", "model": "s3://zoo/qwen"}})
        model_files.local_model(served, {str(tmp_path)!r}, StorageOptions.here())
        """
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [path.suffix for path in sorted((tmp_path / MODEL_CACHE).iterdir())] == [".lock", ".partial"]
    path = Path(local_model(served("s3://zoo/qwen"), tmp_path, StorageOptions.here()))
    assert len([file for file in path.rglob("*") if file.is_file()]) == 2
    assert not list((tmp_path / MODEL_CACHE).glob("*.partial"))


@pytest.mark.parametrize(
    ("model", "telling"),
    [
        ("s3://zoo/none", "there are no files at s3://zoo/none"),
        ("s3://nowhere/model", "there is no such bucket"),
    ],
)
def test_a_model_that_is_not_there_is_one_sentence(
    s3: Mapping[str, str], tmp_path: Path, model: str, telling: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(telling)) as raised:
        local_model(served(model), tmp_path, StorageOptions.here())
    assert str(raised.value).count("\n") == 0


def test_a_disk_that_is_too_small_is_said_before_the_download(
    s3: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "_DISK_RESERVE_BYTES", 10**18)
    with pytest.raises(ConfigError, match=r"only .* GB free: set engine\.scratch_dir"):
        local_model(served("s3://zoo/qwen"), tmp_path, StorageOptions.here())
