"""Who may come in: a bearer token where there is one, this machine's own pages alone where there is none."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

MOST_BYTES = 2**20
"""Of a body."""
OPEN = ("/", "/docs", "/openapi.json", "/healthz")
"""What anybody may read: it says nothing of any video."""
HERE = ("localhost", "127.0.0.1", "::1")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TokenAuth:
    """Turns away who sends no token, too much, or comes from another site's page.

    Without a token only requests to this machine by its own names are served: another site's script in a browser here
    can neither send them in its own name nor under a name of its own that leads here.

    Args:
        app: What is behind it.
        token: What has to be sent as ``Authorization: Bearer``; empty for no token.
    """

    def __init__(self, app: App, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refused := self._refused(scope, headers):
            await _answer(send, *refused)
            return
        left = MOST_BYTES

        async def counted() -> MutableMapping[str, Any]:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            # What is beyond is dropped: a body that is cut off is none that can be read.
            return message if left >= 0 else {"type": "http.request", "body": b"", "more_body": False}

        await self._app(scope, counted, send)

    def _refused(self, scope: Scope, headers: MutableMapping[str, str]) -> tuple[int, str, str] | None:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BYTES:
            return 413, "TooLarge", f"A body has {MOST_BYTES // 2**20} MB at most."
        host = _host(f"//{headers.get('host', '')}")
        origin = headers.get("origin")
        if origin is not None and _host(origin) != host:
            return 403, "Forbidden", "The page of another site may not do this."
        if not self._token:
            return None if host in HERE else (403, "Forbidden", "Only this machine is served, by its own name.")
        if scope["path"] in OPEN and scope["method"] in ("GET", "HEAD"):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token.encode()):
            return None
        return 401, "Unauthorized", "Send the service's token as Authorization: Bearer."


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
