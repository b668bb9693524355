"""URIs: what is a name, what is a fragment or a query, and what may be shown."""

from __future__ import annotations

import pytest

from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import base_name, bucket_and_key, folder_of, is_address, path_of_file_url, sent_url, suffix_of
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.patterns import split
from lvqa_ray.storage.remote import file_status


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("http://h/film.mp4#t=10,20", "http://h/film.mp4"),
        ("http://h/page#top", "http://h/page"),
        ("http://h/ep #1.mp4", "http://h/ep%20%231.mp4"),
        ("http://h/s#2/e#1.mp4?sig=a%2Fb#x", "http://h/s%232/e%231.mp4?sig=a%2Fb"),
        ("http://h/a%41~%7E+b.mp4?X=%2F", "http://h/a%41~%7E+b.mp4?X=%2F"),
        ("http://h/100%.mp4", "http://h/100%25.mp4"),
        ("http://h/caf\u00e9 \n\\.mp4", "http://h/caf%C3%A9%20%0A%5C.mp4"),
        ("http://public#@127.0.0.1/x.mp4", "http://public"),
    ],
)
def test_a_url_is_sent_as_it_was_meant(given: str, sent: str) -> None:
    assert sent_url(given) == sent


def test_what_is_secret_is_not_shown_whatever_the_case_of_the_scheme() -> None:
    assert redact_url("HTTPS://me:secret@h/ep #1.mp4?sig=secret") == "HTTPS://h/ep %231.mp4"
    assert redact_url("s3://b/what?#.mp4") == "s3://b/what?#.mp4"


def test_the_parts_of_names() -> None:
    assert bucket_and_key("s3://b//a?versionId=1#%41") == ("b", "/a?versionId=1#%41")
    assert [base_name(uri) for uri in ("s3://b/a%20#b.mp4", "http://h/a%20%23b.mp4?x=/y", "/a/b%20#c")] == [
        "a%20#b.mp4",
        "a #b.mp4",
        "b%20#c",
    ]
    assert [suffix_of(uri) for uri in ("s3://b/x.MP4?v.txt", "http://h/x.MP4?v.txt", "/x.d/y")] == [".txt", ".mp4", ""]
    assert folder_of("http://h/a/m.jsonl?sig=/x") == "http://h/a"
    assert folder_of("s3://b/a?b/m #1.jsonl") == "s3://b/a?b"
    assert path_of_file_url("file:///a%20b/ep #1?.mp4") == path_of_file_url("file://localhost/a b/ep %231%3F.mp4")


def test_a_part_that_exists_is_no_pattern() -> None:
    there = {"/films/shows [2020]", "a*"}.__contains__
    assert split("/films/shows [2020]/*.mp4", there) == ("/films/shows [2020]", "*.mp4")
    assert split("/films/shows [2021]/x.mp4", there) == ("/films", "shows [2021]/x.mp4")
    assert split("a*", there) == ("a*", "")
    assert (split("/*.mp4", there), split("*.mp4", there)) == (("/", "*.mp4"), ("", "*.mp4"))


@pytest.mark.parametrize("uri", ["http://[::1/v.mp4", "http://h:99999/v.mp4", "http://h:x/v.mp4", "http://.../v.mp4"])
def test_a_url_whose_host_or_port_cannot_be_is_no_address(uri: str) -> None:
    assert not is_address(uri)
    with pytest.raises(FetchError) as found:
        file_status(uri, StorageOptions.here())
    assert (found.value.kind, found.value.retryable) == ("missing_file", False)


@pytest.mark.parametrize("uri", ["http://[::1]:80/v.mp4", "https://b\u00fccher.example/v.mp4", "s3://b/a:b", "/v.mp4"])
def test_other_addresses_can_be_asked_for(uri: str) -> None:
    assert is_address(uri)
