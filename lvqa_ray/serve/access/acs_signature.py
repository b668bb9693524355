"""Signature check of requests that are signed with an access key (ACS3-HMAC-SHA256).

The algorithm is "V3 request body and signature mechanism" of Alibaba Cloud's API documentation, as
``alibabacloud_tea_openapi`` signs: HMAC-SHA256 of a canonical request of method, path, query, signed headers and the
hash of the body.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from lvqa_ray.serve.invalid import RefusedError

ALGORITHM = "ACS3-HMAC-SHA256"
VALID_S = 900.0
"""Maximum difference (s) between the date of a request and this machine's clock; nonces are remembered as long."""
BODY_HASH, DATE, NONCE = "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce"
SIGNED = ("host", BODY_HASH, DATE, NONCE)
"""Headers that must be signed: without one, a signature could be used for another request."""
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<id>[^,\s]+),\s*SignedHeaders=(?P<signed>[^,\s]+),\s*Signature=(?P<hex>[0-9a-fA-F]{{64}})"
)
Headers = Sequence[tuple[str, str]]


class SignatureCheck:
    """Checks signatures against key pairs, in constant time, and refuses old and repeated requests.

    Args:
        keys: Secret by access key id.
        public_url: URL of a reverse proxy that clients sign for, which may replace host and path.
        clock: Seconds since 1970.
    """

    def __init__(self, keys: Mapping[str, str], public_url: str = "", clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._public = urlsplit(public_url)
        self._clock = clock
        self._nonces: dict[tuple[str, str], float] = {}

    def check(self, scope: MutableMapping[str, Any], headers: Headers, body: bytes) -> None:
        """Check a request.

        Args:
            scope: ASGI scope with method, raw path and query.
            headers: Headers with names in lower case and values without white space around them.
            body: The whole body.

        Raises:
            RefusedError: The signature is not valid.
        """
        named = dict(headers)
        given = _AUTHORIZATION.fullmatch(named.get("authorization", ""))
        if given is None:
            raise _refused("IncompleteSignature", f"The Authorization header is no {ALGORITHM} signature.")
        signed = given["signed"].lower().split(";")
        if lacking := [name for name in SIGNED if name not in signed or name not in named]:
            raise _refused("IncompleteSignature", f"The signature does not cover the header {lacking[0]}.")
        self._check_date(named[DATE])
        if not hmac.compare_digest(named[BODY_HASH].lower().encode(), hashlib.sha256(body).hexdigest().encode()):
            raise _refused("SignatureDoesNotMatch", f"{BODY_HASH} is not the hash of the body.")
        secret = self._keys.get(given["id"])
        key = (secret or "an unknown id takes as long as a known one").encode()
        expected = [_signature(key, request) for request in self._canonical(scope, headers, signed, named[BODY_HASH])]
        fits = [hmac.compare_digest(each.encode(), given["hex"].lower().encode()) for each in expected]
        if secret is None or not any(fits):
            why = "There is no such access key, or its signature does not match the request."
            raise _refused("SignatureDoesNotMatch", why)
        self._use_nonce((given["id"], named[NONCE]))

    def _check_date(self, date: str) -> None:
        try:
            at = datetime.strptime(date, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise _refused("InvalidTimeStamp.Format", f"{DATE} has to be like 2024-08-01T12:00:00Z.") from None
        if abs(at - self._clock()) > VALID_S:
            why = f"{DATE} is more than {VALID_S / 60:.0f} minutes off this machine's clock; set the client's clock."
            raise _refused("InvalidTimeStamp.Expired", why)

    def _use_nonce(self, nonce: tuple[str, str]) -> None:
        now = self._clock()
        for old in [each for each, until in self._nonces.items() if until < now]:
            del self._nonces[old]
        if nonce in self._nonces:
            raise _refused("SignatureNonceUsed", f"{NONCE} was used before; sign every request anew.")
        self._nonces[nonce] = now + 2 * VALID_S  # its date may be ahead of this clock

    def _canonical(
        self, scope: MutableMapping[str, Any], headers: Headers, signed: Sequence[str], body_hash: str
    ) -> Iterator[str]:
        """The canonical request, as received and as the client of a reverse proxy signed it."""
        raw: bytes = scope.get("raw_path") or b""
        path = raw.decode("latin-1").partition("?")[0] or quote(scope["path"], safe="/~")
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        queried = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query))
        public = ((self._public.netloc, self._public.path.rstrip("/")),) if self._public.netloc else ()
        for host, prefix in ((None, ""), *public):
            values: dict[str, list[str]] = {name: [] for name in sorted(signed)}
            for name, value in headers:
                if name in values:
                    values[name].append(host if name == "host" and host else value)
            lines = "".join(f"{name}:{','.join(sorted(each))}\n" for name, each in values.items())
            yield "\n".join((scope["method"], prefix + path, queried, lines, ";".join(values), body_hash))


def _signature(secret: bytes, canonical: str) -> str:
    text = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def _refused(code: str, message: str) -> RefusedError:
    return RefusedError(code, message, 401)
