"""Retries of I/O calls with exponential backoff, and one-sentence messages for their errors.

Error texts of servers are never quoted: they may contain secrets.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from math import inf
from typing import TypeVar

from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import WEB, is_address, scheme_of
from lvqa_ray.storage import web_faults
from lvqa_ray.storage.ssrf import ForbiddenAddressError

IO_ATTEMPTS = 4
IO_BACKOFF_BASE_S = 0.5
IO_LONGEST_WAIT_S = 60.0
"""If a server requests a longer wait (``Retry-After``), the file is left to a later run."""
SILENT_S = 30.0
"""Circuit breaker: after a host did not answer all attempts, its files get one attempt each for this time (s)."""
T = TypeVar("T")
_SILENT: dict[str, float] = {}
"""Time of the last unanswered request by host and port."""

CODES: Mapping[str, tuple[str, str]] = {
    "NoSuchBucket": (
        "missing_file",
        "{uri}: there is no such bucket; make it, or correct the name or the endpoint",
    ),
    "AccessDenied": (
        "forbidden",
        "{uri} is not open to these credentials; they need to list, read, write and delete",
    ),
    "InvalidAccessKeyId": ("forbidden", "{uri}: the store does not know this access key; renew the credentials"),
    "SignatureDoesNotMatch": ("forbidden", "{uri}: the store refuses the signature; check the secret key"),
    "ExpiredToken": ("forbidden", "{uri}: the session token has expired; renew the credentials"),
    "InvalidToken": ("forbidden", "{uri}: the store refuses the session token; renew the credentials"),
    "RequestTimeTooSkewed": ("forbidden", "{uri}: the clock of this machine is too far from the store's; set it right"),
    "PermanentRedirect": ("forbidden", "{uri}: the bucket is in another region; set storage.region"),
    "AuthorizationHeaderMalformed": ("forbidden", "{uri}: the bucket is in another region; set storage.region"),
    "IllegalLocationConstraintException": ("forbidden", "{uri}: the bucket is in another region; set storage.region"),
    **dict.fromkeys(
        ("RequestExpired", "TokenRefreshRequired", "ExpiredTokenException"),
        ("forbidden", "{uri}: the credentials have expired; renew them"),
    ),
    **dict.fromkeys(
        ("AccountProblem", "AllAccessDisabled", "InvalidSecurity", "NotSignedUp", "InvalidPayer", "AccessForbidden"),
        ("forbidden", "{uri}: the store has closed this account or bucket; see its console"),
    ),
    **dict.fromkeys(
        ("InvalidClientTokenId", "UnrecognizedClientException", "InvalidIdentityToken", "AuthFailure"),
        ("forbidden", "{uri}: the store does not know these credentials; renew them"),
    ),
    "InvalidObjectState": ("forbidden", "{uri} is archived; restore it in its store first"),
    "NoSuchVersion": ("missing_file", "There is no file {uri}; check the address"),
    "KeyTooLongError": ("missing_file", "{uri}: the key is longer than the store allows; correct it"),
    "InvalidBucketName": ("missing_file", "{uri}: that is no name of a bucket; correct it"),
}
"""Fault kind and message by S3 error code."""

PASSING_CODES = frozenset({"RequestTimeout", "OperationAborted", "IncompleteBody", "BadDigest", "SlowDown"})
"""S3's codes of transient errors, whatever their status."""
ASTRAY = ("forbidden", "{uri} leads to an address that is not public, and serve.networks does not allow it")


# Not tenacity: its hooks receive the exception, so each (retry, wait, final error) would classify it again.
def retry_io(
    uri: str, call: Callable[[], T], *, lasting: tuple[type[Exception], ...] = (), stopped: Callable[[], bool] = bool
) -> T:
    """Retry an I/O call with exponential backoff: up to four attempts while the error is transient.

    The waits are 0.5, 1 and 2 s with jitter, or what the server requests (``Retry-After``), up to 60 s. A host that
    did not answer in the last 30 s is tried once.

    Args:
        uri: The file that the call is about.
        call: The call.
        lasting: Exceptions to raise unchanged.
        stopped: Returns true when the file is no longer needed, which is checked before each attempt.

    Raises:
        FetchError: The call failed, or the file is no longer needed.
    """
    host, most = _host(uri), IO_ATTEMPTS
    if time.monotonic() - _SILENT.get(host, -inf) < SILENT_S:
        most = 1
    for attempt in range(1, most + 1):
        if stopped():
            raise not_wanted(uri)
        try:
            found = call()
            _SILENT.pop(host, None)
            return found
        except FetchError:
            raise
        except Exception as error:
            if isinstance(error, lasting):
                raise
            fault = _own(error) or to_fetch_error(uri, error)
            asked_s = web_faults.wait_asked_s(error) or 0.0
            if fault.kind != "not_fetched" or not (code_of(error) in PASSING_CODES or web_faults.passes(error)):
                raise fault from None
            if attempt == most or asked_s > IO_LONGEST_WAIT_S:
                if host and web_faults.is_silent(error):
                    _SILENT[host] = time.monotonic()
                raise _given_up(fault, attempt, asked_s) from None
        wait_s = IO_BACKOFF_BASE_S * 2 ** (attempt - 1)
        time.sleep(max(asked_s, wait_s) + random.uniform(0, wait_s / 2))  # noqa: S311 - jitter, not a secret
    raise AssertionError


def not_wanted(uri: str) -> FetchError:
    """The error for a file that is no longer needed."""
    return FetchError("stopped", f"{redact_url(uri)} is not wanted any more.", retryable=True)


def _host(uri: str) -> str:
    """The host and port of a URL; empty for a store."""
    return redact_url(uri).partition("://")[2].partition("/")[0] if scheme_of(uri) in WEB else ""


def _given_up(fault: FetchError, attempts: int, asked_s: float) -> FetchError:
    reason = (
        f"tried {attempts} time{'s' * (attempts > 1)}"
        if asked_s <= IO_LONGEST_WAIT_S
        else f"the server asks to wait {asked_s:.0f} s"
    )
    return FetchError(fault.kind, f"{str(fault).removesuffix('.')} ({reason}).", retryable=fault.retryable)


def to_fetch_error(uri: str, error: Exception) -> FetchError:
    """Classify an exception: by S3's code first, then by HTTP status, then by the type of connection error."""
    location = redact_url(uri)
    if found := ASTRAY if _is_ssrf_refusal(error) else CODES.get(code_of(error)):
        kind, sentence = found
        return FetchError(kind, f"{sentence.format(uri=location)}.", retryable=kind == "forbidden")
    if status := web_faults.status_of(error):
        return web_faults.fault_of_status(location, status)
    host = _host(uri) or "the store"
    return web_faults.fault_of_connection(location, host, error) or _fault_of_client(location, error)


def _fault_of_client(location: str, error: Exception) -> FetchError:
    """The error for an exception of the client itself, not of a server or a connection."""
    if isinstance(error, ValueError) and not is_address(location):
        return web_faults.no_address(location)
    if isinstance(error, FileNotFoundError):
        return FetchError("missing_file", f"There is no file {location}; check the address.")
    if "Credentials" in type(error).__name__:
        return FetchError(
            "forbidden",
            f"{location}: there are no credentials for it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "storage.profile or storage.anonymous.",
            retryable=True,
        )
    if isinstance(error, PermissionError):
        return web_faults.fault_of_status(location, 403)
    if isinstance(error, ImportError):
        return FetchError("forbidden", f"{location} needs a package that is not installed: {error}.", retryable=True)
    return web_faults.not_fetched(location, type(error).__name__, "see whether its server answers")


def _own(error: BaseException) -> FetchError | None:
    """The `FetchError` behind an exception of fsspec."""
    return next((each for each in web_faults.causes(error) if isinstance(each, FetchError)), None)


def _is_ssrf_refusal(error: BaseException) -> bool:
    """Whether the SSRF guard caused an error; fsspec wraps it."""
    found = (getattr(each, "os_error", each) for each in web_faults.causes(error))
    return any(isinstance(each, ForbiddenAddressError) for each in found)


def code_of(error: BaseException | None) -> str:
    """S3's error code, which s3fs hides behind Python exceptions; empty if there is none."""
    for each in web_faults.causes(error):
        response = getattr(each, "response", None)
        if isinstance(response, Mapping):
            return str(response.get("Error", {}).get("Code", ""))
    return ""
