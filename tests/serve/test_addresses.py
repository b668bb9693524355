"""Which videos a stranger may name, and where a connection may lead."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from lvqa_ray.config import Serve
from lvqa_ray.errors import FetchError
from lvqa_ray.serve.access.addresses import checked
from lvqa_ray.serve.invalid import RefusedError
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.remote import download, file_status
from lvqa_ray.storage.ssrf import SsrfGuard

PUBLIC = "93.184.216.34"


def leads_to(*addresses: str) -> Callable[..., Any]:
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.1.2.3"),
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert SsrfGuard().refuses(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_a_public_one_is_not(address: str) -> None:
    assert not SsrfGuard().refuses(address)


def test_networks_that_are_named_may_be_reached() -> None:
    guard = SsrfGuard(("10.0.0.0/8",))
    assert not guard.refuses("10.1.2.3")
    assert not guard.refuses("::ffff:10.1.2.3")
    assert guard.refuses("192.168.1.1")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("ftp://example.com/a.mp4", "http"),
        ("javascript://example.com/a", "http"),
        ("film.mp4", "http"),
        ("/etc/passwd", "serve.allow"),
        ("file:///etc/passwd", "serve.allow"),
        ("s3://secrets/a.mp4", "serve.allow"),
        ("s3://films/../secrets/a.mp4", "serve.allow"),
        ("s3://films-of-others/a.mp4", "serve.allow"),
        ("http://", "no host"),
        ("http:///a.mp4", "no host"),
        ("http://a:b@example.com/", "password"),
        ("http://exa mple.com/", "blanks"),
        ("http://example.com\\@127.0.0.1/", "backslashes"),
        ("http://example.com/\n", "blanks"),
        ("http://[::1", "can be read"),
        ("http://example.com:99999/", "can be read"),
        ("http://" + "a" * 9000, "characters"),
    ],
)
def test_an_address_that_may_not_be_used_is_refused(uri: str, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        checked(uri, Serve(allow=("s3://films/",)), leads_to(PUBLIC))


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://0/",
    ],
)
def test_loopback_is_known_in_all_its_spellings(uri: str) -> None:
    with pytest.raises(RefusedError, match="not public"):
        checked(uri, Serve())


def test_one_bad_address_among_several_is_enough() -> None:
    uri = "https://example.com/a.mp4?signature=planted"
    assert checked(uri, Serve(), leads_to(PUBLIC)) == uri
    with pytest.raises(RefusedError) as refused:
        checked(uri, Serve(), leads_to(PUBLIC, "10.0.0.1"))
    assert "planted" not in str(refused.value)


def test_files_are_those_of_a_folder_that_is_allowed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "films", tmp_path / "films-of-others"
    for made in (folder, outside):
        made.mkdir()
        (made / "a.mp4").touch()
    (folder / "link.mp4").symlink_to(outside / "a.mp4")
    settings = Serve(allow=(str(folder),))
    assert checked(str(folder / "a.mp4"), settings) == str((folder / "a.mp4").resolve())
    for path in (outside / "a.mp4", folder / "link.mp4", folder / ".." / "films-of-others" / "a.mp4"):
        with pytest.raises(RefusedError, match=r"serve\.allow"):
            checked(str(path), settings)
    assert checked("s3://films/a.mp4", Serve(allow=("s3://films",))) == "s3://films/a.mp4"


AWAY = {"/away": "localhost", "/elsewhere": "127.0.0.2"}


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in AWAY:
            self.send_response(302)
            self.send_header("Location", f"http://{AWAY[self.path]}:{self.connection.getsockname()[1]}/film")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"12345" if self.command == "GET" else b"")

    do_HEAD = do_GET  # noqa: N815 - the name that it has to have

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_address[1]}"
    served.shutdown()


def test_the_address_of_each_connection_is_looked_at_again(server: str, tmp_path: Path) -> None:
    """Whatever the name was taken for before: what counts is where the socket would go, also after a redirect."""
    get = partial(_got, to=tmp_path / "got")
    for guard in (None, SsrfGuard(("127.0.0.0/8", "::1"))):
        assert get(f"{server}/away", guard) == b"12345"
    port = server.rpartition(":")[2]
    for uri in (f"{server}/film", f"http://localhost:{port}/film"):
        with pytest.raises(FetchError, match="not public") as refused:
            get(uri, SsrfGuard())
        assert refused.value.kind == "forbidden"
    with pytest.raises(FetchError, match="not public"):
        get(f"{server}/elsewhere", SsrfGuard(("127.0.0.1/32",)))


def _got(uri: str, guard: SsrfGuard | None, *, to: Path) -> bytes:
    access = replace(StorageOptions.here(), guard=guard)
    file_status(uri, access)
    with to.open("w+b") as out:
        download(uri, out, 100, access)
    return to.read_bytes()
