"""Authentication: a bearer token or a signed access key, otherwise only requests from this machine; CSRF protection."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from lvqa_ray.serve.access.acs_signature import ALGORITHM, SignatureCheck
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
        headers = [(name.decode("latin-1").lower(), _field_value(value)) for name, value in scope["headers"]]
        try:
            self._check_origin(dict(headers))
            signed = self._needs_signature(scope, dict(headers))
            body = await _whole(receive)
            if body is None:
                return
            if signed:
                self._signatures.check(scope, headers, body)
        except RefusedError as error:
            await _answer(send, error)
            return
        await self._app(scope, _first({"type": "http.request", "body": body, "more_body": False}, receive), send)

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            raise _too_large()
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

    def _needs_signature(self, scope: Scope, named: Mapping[str, str]) -> bool:
        """Whether the signature of a request is still to be checked, for which its body is needed.

        Raises:
            RefusedError: The request has no credentials.
        """
        if not self._credentials or (_is_open(scope["path"]) and scope["method"] in ("GET", "HEAD")):
            return False
        scheme, _, rest = named.get("authorization", "").partition(" ")
        for given in (rest.strip() if scheme.lower() == "bearer" else "", named.get("x-acs-bearer-token", "").strip()):
            if self._credentials.token and hmac.compare_digest(given.encode(), self._credentials.token.encode()):
                return False
        if scheme == ALGORITHM and self._credentials.keys:
            return True
        ways = [
            *(["the service's token as Authorization: Bearer"] if self._credentials.token else []),
            *([f"a request signed with an access key ({ALGORITHM})"] if self._credentials.keys else []),
        ]
        raise RefusedError("Unauthorized", f"Send {' or '.join(ways)}.", 401)


def _field_value(raw: bytes) -> str:
    r"""A header value without optional white space: blanks and tabs only (RFC 9110, 5.5), not ``\xa0`` or ``\x85``."""
    return raw.decode("latin-1").strip(" \t")


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(STATIC)


async def _whole(receive: Receive) -> bytes | None:
    """The body of a request; ``None`` if the client disconnects before its end.

    Raises:
        RefusedError: It is larger than `BODY_BYTES`, whatever its headers say.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > BODY_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(body)


def _first(message: Message, receive: Receive) -> Receive:
    pending = [message]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def _too_large() -> RefusedError:
    return RefusedError("TooLarge", f"A body has {BODY_BYTES // 2**20} MB at most.", 413)


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
