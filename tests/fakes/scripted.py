"""HTTP endpoint with byte-level control of its replies: dialects, streams, and truncated streams."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Reply(NamedTuple):
    """An HTTP reply on the wire.

    Attributes:
        status: HTTP status.
        body: The body; for a stream, all of its events.
        content_type: Media type of the body.
        missing: Number of announced bytes that are never sent, as when a connection breaks.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    missing: int = 0

    @classmethod
    def of(cls, status: int, body: object) -> Reply:
        """Make a reply from a JSON value, or from text."""
        return cls(status, body.encode() if isinstance(body, str) else json.dumps(body).encode())


def completion(text: object, finish: object = "stop", **message: object) -> dict[str, Any]:
    """Make a chat completion."""
    said = {"role": "assistant", "content": text, **message}
    return {
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def stream(texts: Sequence[str], *, finish: object = "stop", usage: bool = True, done: bool = True) -> Reply:
    """Make a chat completion as server-sent events."""
    events: list[Mapping[str, Any]] = [
        {"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        *(
            {"model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
            for text in texts
        ),
    ]
    if finish is not None:
        events.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        events.append({"model": "m", "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}})
    lines = [": a comment\n\n", *(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)]
    return Reply(200, "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode(), "text/event-stream")


class Scripted:
    """Threaded HTTP server with scripted replies.

    Args:
        reply: Function from a request's body to the reply.
    """

    def __init__(self, reply: Callable[[dict[str, Any]], Reply]) -> None:
        self.reply = reply
        self.bodies: list[dict[str, Any]] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                scripted.bodies.append(body)
                reply = scripted.reply(body)
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(reply.body) + reply.missing))
                self.end_headers()
                self.wfile.write(reply.body)
                self.close_connection = reply.missing > 0

            def do_GET(self) -> None:
                scripted_models = json.dumps({"object": "list", "data": [{"id": "m"}]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(scripted_models)))
                self.end_headers()
                self.wfile.write(scripted_models)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def base_url(self) -> str:
        """Base URL for clients."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
