"""File server whose paths select a fault: status codes and broken connections of public file servers."""

from __future__ import annotations

import re
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.files import LocalServer

_STATUS = re.compile(r"/s(\d{3})/(\d+)-")


class StatusServer(LocalServer):
    """Serves one file under every name; the folder of a path selects the fault.

    ``/s503/2-x.mp4`` answers 503 twice and then the file, ``/s503/0-x.mp4`` always; ``/loop/`` redirects to itself,
    ``/away/`` to ``ftp://``, ``/html/`` gives a web page with status 200, ``/cut/`` closes the connection after half
    of the file, ``/cut1/`` does so once, ``/nohead/`` answers HEAD with 405, ``/signed/`` HEAD with 403, ``/whole/``
    ignores ranges. With ``parts`` it serves ranges.

    Attributes:
        asked: Number of requests by method and path.
        times: Times of GET and HEAD requests by path (s).
        retry_after: Value of ``Retry-After`` in all errors, if any.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: Counter[tuple[str, str]] = Counter()
        self.times: dict[str, list[float]] = {}
        self.retry_after = ""
        super().__init__(self._handler())

    def requests(self, path: str) -> int:
        """Number of requests for a path, with any method."""
        return len(self.times.get(path, []))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        class Handler(_Handler):
            served = self

        return Handler


class _Handler(BaseHTTPRequestHandler):
    served: StatusServer

    def do_HEAD(self) -> None:
        self._reply(with_body=False)

    def do_GET(self) -> None:
        self._reply(with_body=True)

    def _reply(self, *, with_body: bool) -> None:
        served, path = self.served, self.path.partition("?")[0]
        served.asked[self.command, self.path] += 1
        served.times.setdefault(path, []).append(time.monotonic())
        head = path.rpartition("/")[0]
        if (told := _STATUS.match(path)) and (told[2] == "0" or served.requests(path) <= int(told[2])):
            self._error(int(told[1]))
        elif not with_body and head in ("/nohead", "/signed"):
            self._error(405 if head == "/nohead" else 403)
        elif head in ("/loop", "/away"):
            self._error(302, Location=path if head == "/loop" else "ftp://example.invalid/x.mp4")
        else:
            self._file(head, with_body=with_body)

    def _error(self, status: int, **headers: str) -> None:
        self.send_response(status)
        if self.served.retry_after:
            self.send_header("Retry-After", self.served.retry_after)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _file(self, head: str, *, with_body: bool) -> None:
        body = b"<!DOCTYPE html><title>Sign in</title>" if head == "/html" else self.served.body
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = wanted if head != "/whole" else None
        length = len(body)
        if part:
            body = body[int(part[1]) : int(part[2]) + 1]
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {part[1]}-{int(part[1]) + len(body) - 1}/{length}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        if with_body:
            cut = head == "/cut" or (head == "/cut1" and self.served.asked["GET", self.path] == 1)
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass
