"""Authentication: a bearer token if one is set, otherwise only requests from this machine; also CSRF protection."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from lvqa_ray.serve.page_routes import STATIC

BODY_BYTES = 2**20
"""Maximum size of a request body."""
OPEN = ("/", "/docs", "/openapi.json", "/healthz")
"""Paths that need no token: they reveal nothing about any video."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class TokenAuth:
    """ASGI middleware that refuses requests without the token, too large, or from another site's page.

    Without a token it serves only requests whose ``Host`` is a loopback name. With the check of ``Origin``, this stops
    cross-site requests and DNS rebinding from a browser on this machine.

    Args:
        app: The wrapped application.
        token: Token expected as ``Authorization: Bearer``; empty for none.
    """

    def __init__(self, app: App, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refused := self._refused(scope, headers):
            await _answer(send, *refused)
            return
        left = BODY_BYTES

        async def counted() -> MutableMapping[str, Any]:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            # The rest of a larger body is dropped: a truncated body does not parse.
            return message if left >= 0 else {"type": "http.request", "body": b"", "more_body": False}

        await self._app(scope, counted, send)

    def _refused(self, scope: Scope, headers: MutableMapping[str, str]) -> tuple[int, str, str] | None:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            return 413, "TooLarge", f"A body has {BODY_BYTES // 2**20} MB at most."
        host = _host(f"//{headers.get('host', '')}")
        origin = headers.get("origin")
        if origin is not None and _host(origin) != host:
            return 403, "Forbidden", "The page of another site may not do this."
        if not self._token:
            return (
                None if host in LOOPBACK_NAMES else (403, "Forbidden", "Only this machine is served, by its own name.")
            )
        if (scope["path"] in OPEN or scope["path"].startswith(STATIC)) and scope["method"] in ("GET", "HEAD"):
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
