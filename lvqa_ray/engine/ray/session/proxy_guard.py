"""Guard of the paths that Ray Serve's proxy answers itself, such as ``/-/routes``: they require the service's token."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from starlette.middleware import Middleware

CALLBACK = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
"""Ray Serve's variable with the function that gives the middleware of its proxies."""
GUARD_TOKEN_ENV = "LVQA_PROXY_TOKEN_ENV"  # noqa: S105 - the name of a variable
"""Variable with the name of the variable that holds the token, for the process of the proxy."""
PREFIX, OPEN_PATH = "/-/", "/-/healthz"
AsgiCall = Callable[[MutableMapping[str, Any], Any, Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[None]]


class ProxyGuard:
    """ASGI middleware of the proxy: refuses its own paths without the token.

    Without a token it refuses them all: they are for operators, who can set one.

    Args:
        app: The proxy.
    """

    def __init__(self, app: AsgiCall) -> None:
        self._app = app
        self._token = os.environ.get(os.environ.get(GUARD_TOKEN_ENV, ""), "").strip()

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        """Handle one ASGI connection."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(PREFIX) or path == OPEN_PATH or self._knows(scope["headers"]):
            await self._app(scope, receive, send)
            return
        message = "Send the service's token as Authorization: Bearer."
        body = json.dumps({"code": "Unauthorized", "message": message}).encode()
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _knows(self, headers: list[tuple[bytes, bytes]]) -> bool:
        given = next((value for name, value in headers if name.lower() == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        known = hmac.compare_digest(token.strip(), self._token.encode())
        return bool(self._token) and scheme.lower() == b"bearer" and known


def proxy_middlewares() -> list[Middleware]:
    """The middleware of a proxy; called by Ray Serve."""
    return [Middleware(ProxyGuard)]


@contextmanager
def guarded_proxies(token_env: str) -> Iterator[None]:
    """Have proxies of a Ray that starts inside the block refuse their own paths without the token.

    Args:
        token_env: Variable that holds the token.
    """
    given = {GUARD_TOKEN_ENV: token_env, CALLBACK: f"{__name__}.{proxy_middlewares.__name__}"}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
