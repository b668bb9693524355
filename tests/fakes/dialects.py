"""Servers with scripted behaviour: an endpoint of any API dialect, and an HTTP proxy."""

from __future__ import annotations

import base64
import http.client
import json
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tests.fakes.files import LocalServer


@dataclass(frozen=True)
class Reply:
    """HTTP reply: status, body (JSON, unless it is text) and further headers."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


def answered(text: str = "yes", model: str = "m") -> Reply:
    """Make a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Reply(200, {"model": model, "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})


def error(status: int, code: str = "", message: str = "no") -> Reply:
    """Make an error in OpenAI's format."""
    return Reply(status, {"error": {"message": message, "type": "invalid_request_error", "code": code or None}})


class Dialect(LocalServer):
    """Endpoint that answers each request with a function, and records all requests.

    Args:
        reply: Function from a request to its reply.
    """

    def __init__(self, reply: Callable[[Ask], Reply]) -> None:
        self.asked: list[Ask] = []
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    body = json.loads(text or b"null")
                except ValueError:
                    body = text
                ask = Ask(self.command, urlsplit(self.path).path, dict(self.headers), body)
                served.asked.append(ask)
                given = reply(ask)
                plain = isinstance(given.body, str)
                content = given.body.encode() if plain else json.dumps(given.body).encode()
                self.send_response(given.status)
                self.send_header("Content-Type", "text/html" if plain else "application/json")
                self.send_header("Content-Length", str(len(content)))
                for name, value in given.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_HEAD = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(Handler)

    @property
    def posts(self) -> list[Ask]:
        """Requests that a real endpoint would bill."""
        return [ask for ask in self.asked if ask.method == "POST"]

    @property
    def port(self) -> int:
        """Port on loopback."""
        return int(urlsplit(self.url).port or 0)


class Proxy(LocalServer):
    """HTTP proxy that connects every host name to one server on loopback; it tunnels (CONNECT) and forwards.

    Args:
        to: URL of that server.
        login: Required ``user:password``; none if empty.
    """

    def __init__(self, to: str, login: str = "") -> None:
        self.seen: list[str] = []
        target = urlsplit(to)
        served = self
        wanted = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""

        class Handler(BaseHTTPRequestHandler):
            def _refused(self) -> bool:
                served.seen.append(f"{self.command} {self.path}")
                if wanted and self.headers.get("Proxy-Authorization") != wanted:
                    self.send_error(407)
                    return True
                return False

            def do_GET(self) -> None:
                if self._refused():
                    return
                _forward(self, target)

            do_POST = do_HEAD = do_GET  # noqa: N815 - as above

            def do_CONNECT(self) -> None:
                if self._refused():
                    return
                self.send_response(200)
                self.end_headers()
                _tunnel(self.connection, target)

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(Handler)


def _forward(handler: BaseHTTPRequestHandler, target: SplitResult) -> None:
    """Forward a request and its reply."""
    content = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    there = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=20)
    hidden = {"proxy-authorization", "proxy-connection", "connection"}
    headers = {name: value for name, value in handler.headers.items() if name.lower() not in hidden}
    path = urlsplit(handler.path)._replace(scheme="", netloc="").geturl()
    there.request(handler.command, path or "/", content, headers)
    answer = there.getresponse()
    body = answer.read()
    handler.send_response(answer.status)
    for name, value in answer.getheaders():
        if name.lower() not in {"transfer-encoding", "connection", "date", "server"}:
            handler.send_header(name, value)
    if answer.getheader("Content-Length") is None and handler.command != "HEAD":
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
    there.close()


def _tunnel(client: socket.socket, target: SplitResult) -> None:
    """Copy bytes in both directions until one end closes."""
    with socket.create_connection((target.hostname or "", target.port or 80), timeout=20) as there:
        ends = {client: there, there: client}
        while ready := select.select(list(ends), [], [], 20)[0]:
            for each in ready:
                if not (data := each.recv(65536)):
                    return
                ends[each].sendall(data)
