"""Authentication: a bearer token or a signed access key, otherwise only requests from this machine; CSRF protection."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from lvqa_ray.serve.access.acs_signature import ALGORITHM, Headers, SignatureCheck
from lvqa_ray.serve.invalid import RefusedError, refusal_fields, refusal_headers
from lvqa_ray.serve.page_routes import STATIC

BODY_BYTES = 2**20
"""Maximum size of a request body."""
OPEN = ("/", "/docs", "/openapi.json", "/healthz")
"""Paths that need no token: they reveal nothing about any video."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What clients must send, one of them.

    Attributes:
        token: Token expected as ``Authorization: Bearer`` or ``x-acs-bearer-token``; empty for none.
        keys: Secret by access key id, for signed requests.
    """

    token: str = field(default="", repr=False)
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.token or self.keys)


class Authentication:
    """ASGI middleware that refuses requests without credentials, too large, or from another site's page.

    Without credentials it serves only requests whose ``Host`` is a loopback name. With the check of ``Origin``, this
    stops cross-site requests and DNS rebinding from a browser on this machine.

    Args:
        app: The wrapped application.
        credentials: What clients must send.
        public_url: URL of a reverse proxy in front of the service; its pages may send requests too.
    """

    def __init__(self, app: App, credentials: Credentials, public_url: str = "") -> None:
        self._app = app
        self._credentials = credentials
        self._public = _origin(public_url)
        self._signatures = SignatureCheck(credentials.keys, public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        try:
            self._check_origin(dict(headers))
            receive = await self._authenticated(scope, headers, _bounded(receive))
        except RefusedError as error:
            await _answer(send, error)
            return
        await self._app(scope, receive, send)

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            raise RefusedError("TooLarge", f"A body has {BODY_BYTES // 2**20} MB at most.", 413)
        host, given = _split(f"//{headers.get('host', '')}"), headers.get("origin")
        if given is not None and not self._own_page(given, host):
            raise RefusedError("Forbidden", "The page of another site may not do this.", 403)
        if not self._credentials and (host is None or host.hostname not in LOOPBACK_NAMES):
            raise RefusedError("Forbidden", "Only this machine is served, by its own name.", 403)

    def _own_page(self, given: str, host: SplitResult | None) -> bool:
        """Whether an ``Origin`` is this service, by the name of the request or by its public URL."""
        origin = _split(given)
        if origin is None or origin.hostname is None:
            return False
        if self._public is not None and _origin(given) == self._public:
            return True
        return host is not None and origin.hostname == host.hostname

    async def _authenticated(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """Check the credentials; the body of a signed request is read, and given again to the application."""
        if not self._credentials or (_is_open(scope["path"]) and scope["method"] in ("GET", "HEAD")):
            return receive
        named = dict(headers)
        scheme, _, rest = named.get("authorization", "").partition(" ")
        for given in (rest.strip() if scheme.lower() == "bearer" else "", named.get("x-acs-bearer-token", "").strip()):
            if self._credentials.token and hmac.compare_digest(given.encode(), self._credentials.token.encode()):
                return receive
        if scheme == ALGORITHM and self._credentials.keys:
            body = await _whole(receive)
            self._signatures.check(scope, headers, body)
            return _first({"type": "http.request", "body": body, "more_body": False}, receive)
        ways = [
            *(["the service's token as Authorization: Bearer"] if self._credentials.token else []),
            *([f"a request signed with an access key ({ALGORITHM})"] if self._credentials.keys else []),
        ]
        raise RefusedError("Unauthorized", f"Send {' or '.join(ways)}.", 401)


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(STATIC)


def _bounded(receive: Receive) -> Receive:
    left = BODY_BYTES

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        # The rest of a larger body is dropped: a truncated body does not parse.
        return message if left >= 0 else {"type": "http.request", "body": b"", "more_body": False}

    return bounded


async def _whole(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _first(message: Message, receive: Receive) -> Receive:
    pending = [message]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def _split(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of a URL; ``None`` if it has no host."""
    parts = _split(url)
    if parts is None or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


async def _answer(send: Send, error: RefusedError) -> None:
    body = json.dumps(refusal_fields(error)).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal_headers(error.status)}
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
