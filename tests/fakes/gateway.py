"""Proxy in front of a real S3 server that can start to refuse requests."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.files import LocalServer

STATUS = {"ExpiredToken": 400, "AccessDenied": 403, "InvalidAccessKeyId": 403, "NoSuchBucket": 404, "SlowDown": 503}


class Gateway(LocalServer):
    """Forwards requests unchanged, including the signed ``Host`` header.

    Attributes:
        refuses: S3 error code of its replies; ``drop`` to close connections; empty to forward.
        writes_only: Refuse only requests that modify the bucket.
    """

    def __init__(self, url: str) -> None:
        self.refuses = ""
        self.writes_only = False
        there = urlsplit(url).netloc

        class Handler(_Handler):
            gateway = self
            to = there

        super().__init__(Handler)


class _Handler(BaseHTTPRequestHandler):
    gateway: Gateway
    to: str
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        code = self.gateway.refuses
        if code and not (self.gateway.writes_only and self.command in ("GET", "HEAD")):
            self.close_connection = True
            if code != "drop":
                said = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
                self._reply(STATUS[code], {"Content-Type": "application/xml"}, said)
            return
        try:
            connection = HTTPConnection(self.to, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            reply = connection.getresponse()
            self._reply(reply.status, dict(reply.getheaders()), reply.read())
            connection.close()
        except (OSError, HTTPException):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - the names that http.server looks for

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
