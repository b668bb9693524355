"""A call to a store that is made again where that may help, and what it could not do in one sentence.

What a server says in an error is never quoted: it may hold what is secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from lvqa_ray.engine.guard import ForbiddenAddressError
from lvqa_ray.errors import FetchError
from lvqa_ray.records import shown

ATTEMPTS = 4
FIRST_WAIT_S = 0.5
T = TypeVar("T")

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
    "InvalidBucketName": ("missing_file", "{uri}: that is no name of a bucket; correct it"),
}
"""What S3's error codes mean: the kind of fault, and the sentence."""


ASTRAY = ("forbidden", "{uri} leads to an address that is not public, and serve.networks does not allow it")


def again(uri: str, call: Callable[[], T], *, lasting: tuple[type[Exception], ...] = ()) -> T:
    """The answer of a call that is made up to four times, where making it again may help.

    Args:
        uri: What it is about.
        call: The call.
        lasting: Exceptions that are given on as they are.

    Raises:
        FetchError: It did not succeed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except FetchError:
            raise
        except Exception as error:
            if isinstance(error, lasting):
                raise
            fault = _own(error) or fault_of(uri, error)
            if fault.kind != "not_fetched" or attempt == ATTEMPTS:
                raise fault from None
        time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
    raise AssertionError


def fault_of(uri: str, error: Exception) -> FetchError:
    """What went wrong, in our words."""
    status = getattr(error, "status", None)
    place = shown(uri)
    if said := ASTRAY if _led_astray(error) else CODES.get(code_of(error)):
        sentence = said[1].format(uri=place)
        return FetchError(said[0], f"{sentence}.", retryable=said[0] == "forbidden")
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return FetchError("missing_file", f"There is no file {place}; check the address.")
    if "Credentials" in type(error).__name__:
        return FetchError(
            "forbidden",
            f"{place}: there are no credentials for it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "storage.profile or storage.anonymous.",
            retryable=True,
        )
    if isinstance(error, PermissionError) or status in (401, 403):
        return FetchError(
            "forbidden", f"{place} may not be read or written; check the credentials or the signature.", retryable=True
        )
    if isinstance(error, ImportError):
        return FetchError("forbidden", f"{place} needs a package that is not installed: {error}.", retryable=True)
    how = f"status {status}" if status else type(error).__name__
    return FetchError(
        "not_fetched",
        f"{place} could not be reached in {ATTEMPTS} attempts ({how}); see whether "
        f"{urlsplit(uri).hostname or place} answers.",
        retryable=True,
    )


def _own(error: BaseException | None) -> FetchError | None:
    """An error of ours behind one of fsspec's."""
    while error is not None and not isinstance(error, FetchError):
        error = error.__cause__
    return error


def _led_astray(error: BaseException | None) -> bool:
    """Whether the guard of a connection is behind an error, which fsspec hides behind one of Python's."""
    while error is not None:
        if isinstance(getattr(error, "os_error", error), ForbiddenAddressError):
            return True
        error = error.__cause__
    return False


def code_of(error: BaseException | None) -> str:
    """S3's code for an error, which s3fs hides behind exceptions of Python's."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""
