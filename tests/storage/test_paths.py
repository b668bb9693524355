"""How stores are reached and what is said when they are not; what needs a real one is in test_places."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from lvqa_ray import cli
from lvqa_ray.dataset.shards import read_shard
from lvqa_ray.errors import ConfigError
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.paths import ObjectPath, complete, partial_of, storage_path
from lvqa_ray.storage.remote import list_files
from lvqa_ray.storage.retries import to_fetch_error
from tests.fakes.files import FileServer
from tests.fakes.listed import ListedBucket

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hidden", "AWS_SESSION_TOKEN": "token"}


def test_a_store_that_is_busy_or_breaks_off_is_asked_again() -> None:
    with FileServer() as server:
        server.files["/films/a/x"] = bytes(10_000)
        server.troubles["/films/a/x"] = [503, "drop"]
        path = ObjectPath("s3://films/a/x", StorageOptions(server.url, key="id", secret="hidden"))  # noqa: S106 - made up
        assert path.read_bytes() == bytes(10_000)
        assert server.gets["/films/a/x"] == 3
        with pytest.raises(FileNotFoundError, match="There is no file s3://films/a/y"):
            path.with_name("y").read_bytes()


def test_a_listing_goes_on_where_the_store_was_busy_or_broke_off() -> None:
    with ListedBucket(2500) as bucket:
        bucket.troubles.extend(("fine", "slow", "fine", "drop"))
        access = StorageOptions(bucket.url, path_style=True, key="id", secret="hidden")  # noqa: S106 - made up
        found = list_files("s3://corpus/films", access)
        names = [next(found).uri.rpartition("/")[2]]
        assert bucket.pages == 1, "the others are asked for when they are wanted"
        names += [file.uri.rpartition("/")[2] for file in found]
        assert names == [f"film{number:07d}.mp4" for number in range(2500)]
        assert bucket.pages == 3
        assert [path.name for path in ObjectPath("s3://corpus", access).iterdir()] == ["films"]
        assert bucket.pages == 4, "what is right below is named without listing what is below that"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("RequestTimeTooSkewed", "the clock of this machine"),
        ("NoSuchBucket", "no such bucket"),
        ("AccessDenied", "not open to these credentials"),
        ("PermanentRedirect", "set storage.region"),
        ("ExpiredToken", "renew the credentials"),
    ],
)
def test_what_the_store_says_is_one_sentence_of_ours(code: str, says: str) -> None:
    error = OSError("hidden")
    error.__cause__ = ClientError({"Error": {"Code": code, "Message": "hidden"}}, "PutObject")
    fault = to_fetch_error("s3://films/out", error)
    assert says in str(fault)
    assert "hidden" not in str(fault)


def test_no_credentials_are_told_from_wrong_ones() -> None:
    assert "set AWS_ACCESS_KEY_ID" in str(to_fetch_error("s3://films/out", NoCredentialsError()))


def test_the_job_goes_before_the_environment_and_no_key_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = KEYS | {"AWS_ENDPOINT_URL": "http://there", "AWS_DEFAULT_REGION": "eu-west-1"}
    access = StorageOptions.of(endpoint_url="http://here", environ=there)
    assert (access.endpoint_url, access.region, access.key, access.token) == ("http://here", "eu-west-1", "id", "token")
    assert "hidden" not in f"{access} {ObjectPath('s3://films/out', access)!r}"
    assert StorageOptions.of(anonymous=True, environ=there).key is None
    files = tmp_path / "credentials"
    files.write_text("[mine]\naws_access_key_id = own\naws_secret_access_key = hidden\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(files))
    mine = StorageOptions.of(profile="mine", environ=there)
    assert (mine.key, mine.profile) == ("own", None), "the keys travel, since the workers do not have the file"
    with pytest.raises(ConfigError, match=r"storage\.profile"):
        StorageOptions.of(profile="nobody", environ=there)


def test_a_file_of_a_disk_is_whole_or_not_there(tmp_path: Path) -> None:
    place = storage_path(str(tmp_path / "x"))
    partial = partial_of(place)
    partial.write_bytes(b"half")
    assert not place.exists()
    complete(partial, place)
    assert place.read_bytes() == b"half"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"id": [str(n) for n in range(1000)]}), out)
    return out.getvalue()


def test_a_shard_is_asked_for_again_and_only_a_spoilt_one_is_to_be_moved_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvqa_ray.storage.retries.IO_BACKOFF_BASE_S", 0.0)
    with FileServer() as server:
        server.in_parts = True
        server.files = {"/films/x": parquet(), "/films/y": parquet()[:500], "/films/z": parquet()}
        access = StorageOptions(server.url, key="id", secret="hidden")  # noqa: S106 - made up
        server.troubles = {"/films/x": [503, 503], "/films/z": [403] * 50}
        assert read_shard(ObjectPath("s3://films/x", access)).num_rows == 1000
        with pytest.raises(ConfigError, match=r"is not a readable shard .*move it away"):
            read_shard(ObjectPath("s3://films/y", access))
        with pytest.raises(ConfigError, match=r"could not be read .*run the same command again"):
            read_shard(ObjectPath("s3://films/z", access))


def test_a_store_that_stops_answering_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvqa_ray.storage.retries.IO_BACKOFF_BASE_S", 0.0)
    place = ObjectPath("s3://films/x", StorageOptions("http://127.0.0.1:1", key="id", secret="hidden"))  # noqa: S106 - made up

    class File:
        size = 10

        def seek(self, _: int) -> None:
            raise EndpointConnectionError(endpoint_url="hidden")

    class Files:
        def open(self, *_: str, **__: str) -> File:
            return File()

    monkeypatch.setattr(StorageOptions, "filesystem", lambda *_: Files())
    file = place.open_input()
    with pytest.raises(OSError, match=r"the store cannot be connected to.*tried 4 times"):
        file.read(5)
    assert (file.seek(-3, 2), file.tell(), file.seekable()) == (7, 7, True)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError("hidden"), "could not be used (PermissionError)"),
        (OSError(28, "hidden", "/out/x"), "/out/x: No space left on device."),
        (to_fetch_error("s3://films/out", NoCredentialsError()), "there are no credentials for it"),
    ],
)
def test_an_unforeseen_error_is_one_sentence_and_status_2(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def list_files(*_: object, **__: object) -> None:
        raise error

    def failures(**_: object) -> None:
        if isinstance(error, OSError):
            raise error
        monkeypatch.setattr("lvqa_ray.storage.paths.list_files", lambda *_, **__: iter(list_files, 0))
        list(ObjectPath("s3://films/out", StorageOptions()).files())

    monkeypatch.setattr("lvqa_ray.cli.commands.app", failures)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert says in told
    assert "hidden" not in told
