"""`lvqa push` publishes with the hub's own client: private, without local paths and prompts, and resumable."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lvqa_ray.dataset.shards import read_rows
from tests.fakes.hub import TOKEN, Hub
from tests.report.made import make_output


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("hub") / "out", 20)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as made:
        yield made


def push(hub: Hub, *args: object, token: str = TOKEN, url: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, with the hub at another address."""
    own = {"HF_ENDPOINT": url or hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    left_out = {"HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME"}
    env = {name: value for name, value in os.environ.items() if name not in left_out} | own
    env |= {"HF_HOME": "/nonexistent"} | ({"HF_TOKEN": token} if token else {})
    command = [str(Path(sys.executable).with_name("lvqa")), "push", *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_private_data_set_without_local_paths_and_prompts(hub: Hub, out: Path) -> None:
    done = push(hub, out, "me/films", "--test-fraction", 0.3, "--license", "cc-by-4.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.url}/datasets/me/films"
    assert hub.repos == {"me/films": True}
    files = hub.files["me/films"]
    assert set(files) >= {"README.md", "data/train-00000.parquet", "data/test-00000.parquet"}
    tables = {name: pq.read_table(io.BytesIO(data)) for name, data in files.items() if name.endswith(".parquet")}
    rows = [row for table in tables.values() for row in table.to_pylist()]
    assert {row["id"] for row in rows} == {row["id"] for row in read_rows(out, "data")}
    assert {"rewrite_prompt", "prompts", "extra"}.isdisjoint(rows[0])
    assert rows[0]["video"] == f"{rows[0]['video_id']}.mp4"
    assert not any(b"/films/" in data or str(out.parent).encode() in data for data in files.values())
    assert "license: cc-by-4.0" in files["README.md"].decode()


def test_nothing_private_is_in_the_texts(hub: Hub, tmp_path: Path) -> None:
    """A model's folder, the address of an endpoint in an error, and the path of a benchmark file."""
    out = make_output(tmp_path / "out", 2, say=lambda text: "/home/me/models/Seer" if text == "seer" else text)
    (shard,) = (out / "data").glob("*.parquet")
    table = pq.read_table(shard)
    rows = table.to_pylist()
    reasons = ["it could not be checked: http://10.0.0.5:8000/v1 is down", "it is in /home/me/bench/video-mme.csv: q"]
    for row in rows:
        row["models"] = '{"ask": "/home/me/models/Seer", "caption": "gpt-4.1"}'
        row["checks"] = [row["checks"][0] | {"reason": reason} for reason in reasons]
    pq.write_table(table.from_pylist(rows, table.schema), shard)
    assert push(hub, out, "me/films").returncode == 0
    (data,) = (data for name, data in hub.files["me/films"].items() if name.endswith(".parquet"))
    (row, *_) = pq.read_table(io.BytesIO(data)).to_pylist()
    assert [check["reason"] for check in row["checks"]] == ["it could not be checked", "it is in video-mme.csv: q"]
    assert row["models"] == '{"ask": "Seer", "caption": "gpt-4.1"}'
    assert b"/home/me" not in hub.files["me/films"]["README.md"]


def test_a_public_repository_is_not_written_to_without_a_word(hub: Hub, out: Path) -> None:
    hub.repos["me/films"] = False
    done = push(hub, out, "me/films")
    assert (done.returncode, hub.commits) == (2, [])
    assert "me/films exists and is public: give --public" in " ".join(done.stderr.split())
    assert push(hub, out, "me/films", "--public").returncode == 0


def test_an_upload_that_broke_off_is_resumed_and_old_shards_are_replaced(hub: Hub, out: Path) -> None:
    hub.repos["me/films"] = True
    hub.files["me/films"] = {"data/train-00007.parquet": b"of an earlier upload", "notes.txt": b"mine"}
    hub.fail_puts = 1
    broken = push(hub, out, "me/films", "--test-fraction", 0.3)
    assert broken.returncode == 2
    assert "the same command resumes the upload" in " ".join(broken.stderr.split())
    assert hub.commits == []
    sent = hub.puts
    assert push(hub, out, "me/films", "--test-fraction", 0.3).returncode == 0
    assert hub.puts == 2 if sent == 1 else hub.puts >= 2
    assert len(hub.commits) == 1
    assert set(hub.files["me/films"]) >= {"notes.txt", "data/train-00000.parquet"}
    assert "data/train-00007.parquet" not in hub.files["me/films"]


def test_what_cannot_be_pushed_is_said_in_one_sentence(hub: Hub, out: Path) -> None:
    for args, options, says in (
        ((out, "me/films"), {"token": ""}, "There is no Hugging Face token"),
        ((out, "me/films"), {"token": "hf_wrong"}, "does not accept the token"),
        ((out, "other/films"), {}, "The token may not write to other/films"),
        ((out, "me/fil ms"), {}, "me/fil ms is no repository of the hub"),
        ((out, "me/films"), {"url": "http://127.0.0.1:9"}, "The hub cannot be reached"),
        ((out, "me/films", "--where", "id == 'x'"), {}, "no record fulfils --where id == 'x'"),
        ((out, "me/films", "--video-root", "/else"), {}, "is not below /else"),
    ):
        done = push(hub, *args, **options)
        assert done.returncode == 2, done.stderr
        assert says in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        assert TOKEN not in done.stderr
    assert hub.commits == []
