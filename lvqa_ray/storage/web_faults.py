"""HTTP errors of file servers: classifies statuses and connection errors, and decides on retries.

Status codes are those of RFC 9110 (408, 429, 502-504 are transient; 501 and 505 are not), 425 of RFC 8470 and 451 of
RFC 7725.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from lvqa_ray.errors import FetchError
from lvqa_ray.llm.rate_headers import retry_after_s

FORBIDDEN = frozenset({401, 402, 403, 407, 451})
MISSING = frozenset({404, 410})
PASSING = frozenset({408, 425, 429})
LASTING_5XX = frozenset({501, 505, 511})
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and its chain of causes: fsspec raises `FileNotFoundError` from any failed request."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def status_of(error: BaseException) -> int:
    """The HTTP status behind an error of aiohttp or botocore; 0 if there was no reply."""
    for each in causes(error):
        if type(each).__name__ == "TooManyRedirects":  # it carries the status of the last redirect
            return 0
        if isinstance(status := getattr(each, "status", None), int) and status:
            return status
        if isinstance(response := getattr(each, "response", None), Mapping):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return status if isinstance(status, int) else 0
    return 0


def wait_asked_s(error: BaseException) -> float | None:
    """Seconds to wait as the server requests (``Retry-After``), or ``None``."""
    for each in causes(error):
        headers = getattr(each, "headers", None)
        response = getattr(each, "response", None)
        if headers is None and isinstance(response, Mapping):
            headers = response.get("ResponseMetadata", {}).get("HTTPHeaders")
        if isinstance(headers, Mapping):
            found = {str(name).lower(): str(value) for name, value in headers.items()}
            return retry_after_s(found, datetime.now(UTC))
    return None


def passes(error: BaseException) -> bool:
    """Whether an error is transient: the same request may succeed later."""
    if status := status_of(error):
        return status in PASSING or (status >= 500 and status not in LASTING_5XX)
    lasting = {
        "TooManyRedirects",
        "InvalidURL",
        "InvalidUrlClientError",
        "RedirectClientError",
        "NonHttpUrlClientError",
    }
    for each in causes(error):
        if isinstance(each, ssl.SSLError) or lasting & {base.__name__ for base in type(each).__mro__}:
            return False
    return True


def is_silent(error: BaseException) -> bool:
    """Whether the host did not answer: no connection, or a timeout."""
    kinds = {kind.__name__ for each in causes(error) for kind in type(each).__mro__}
    return not status_of(error) and bool(
        kinds & {"gaierror", "ClientConnectorDNSError", "ConnectionRefusedError", "TimeoutError"}
    )


def fault_of_status(location: str, status: int) -> FetchError:
    """The error for a reply with an error status.

    Args:
        location: The redacted address.
        status: 300 or more.
    """
    reason = f"status {status}{_phrase(status)}"
    if status in MISSING:
        return FetchError("missing_file", f"There is no file {location} ({reason}); check the address.")
    if status in FORBIDDEN:
        sentence = f"{location} may not be read or written ({reason}); check the credentials or the signature."
        return FetchError("forbidden", sentence, retryable=True)
    if status == 429 or status >= 500:
        return not_fetched(location, reason, "run again when the server has recovered")
    return not_fetched(location, reason, "check the address")


BROKEN = (
    ("SSLError", "no TLS connection to {host} is possible", "see whether the address needs http:// or https://"),
    ("TooManyRedirects", "the server redirects in a circle", "check the address"),
    ("RedirectClientError", "the server redirects to an address that is not http(s)", "check the address"),
    ("gaierror", "there is no host {host}", "check the name, and the network of this machine"),
    ("ClientConnectorDNSError", "there is no host {host}", "check the name, and the network of this machine"),
    ("ConnectionRefusedError", "{host} refuses the connection", "see whether its server runs"),
    *(
        (kind, "{host} gave no answer in time", "see whether it can be reached")
        for kind in ("TimeoutError", "ConnectTimeoutError", "ReadTimeoutError")
    ),
    ("EndpointConnectionError", "{host} cannot be connected to", "see whether its server runs"),
    ("ClientPayloadError", "the connection broke off before the end of the file", "run again"),
    ("ConnectionError", "the connection to {host} broke off", "run again"),
    ("ServerDisconnectedError", "the connection to {host} broke off", "run again"),
)
"""Name of an exception class, what happened, and the remedy. The first match in this order counts."""


def fault_of_connection(location: str, host: str, error: BaseException) -> FetchError | None:
    """The error for a failed or broken connection; ``None`` if the exception has another cause."""
    kinds = {kind.__name__ for each in causes(error) for kind in type(each).__mro__}
    if "SSLCertVerificationError" in kinds:
        messages = [getattr(each, "verify_message", "") for each in causes(error)]
        why = f"the certificate of {host} is not accepted ({next(filter(None, messages), 'it is not valid')})"
        return not_fetched(location, why, "correct the certificate, or name its authority in SSL_CERT_FILE")
    if kinds & {"InvalidURL", "InvalidUrlClientError", "NonHttpUrlClientError"} and "RedirectClientError" not in kinds:
        return no_address(location)
    found = next(((why, remedy) for kind, why, remedy in BROKEN if kind in kinds), None)
    return None if found is None else not_fetched(location, found[0].format(host=host), found[1])


def no_address(location: str) -> FetchError:
    """The error for a URL with an invalid host or port."""
    return FetchError("missing_file", f"{location} is not a valid address; correct it.")


def not_fetched(location: str, why: str, remedy: str) -> FetchError:
    """The retryable error for a failed download."""
    return FetchError("not_fetched", f"{location} could not be fetched: {why}; {remedy}.", retryable=True)


def refuse_web_page(location: str, start: bytes) -> None:
    """Refuse a web page, which some servers send with status 200 for a login or an error.

    Args:
        location: The redacted address.
        start: First bytes of the file.

    Raises:
        FetchError: It is a web page.
    """
    if start[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML):
        raise not_fetched(
            location, "the server sent a web page instead of a video", "check whether the address needs a login"
        )


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
