"""Proxy errors on the way to an endpoint, as distinct from the endpoint's own; each names the variable."""

from __future__ import annotations

import aiohttp

from lvqa_ray.errors import ApiError, AuthFailed, Disconnected, Overloaded

AUTH_REQUIRED = 407


def wants_password(variable: str) -> ApiError:
    """The error for a proxy that asks for a user name and a password."""
    return AuthFailed(
        f"The proxy that {variable} names asks for a user name and a password ({AUTH_REQUIRED}): set {variable} to "
        "http://USER:PASSWORD@HOST:PORT.",
        status=AUTH_REQUIRED,
    )


def of_proxy(exc: BaseException, variable: str) -> ApiError | None:
    """The error for a fault of the proxy; ``None`` if the exception has another cause."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, aiohttp.ClientHttpProxyError):
            if cause.status == AUTH_REQUIRED:
                return wants_password(variable)
            return Overloaded(
                f"The proxy that {variable} names does not connect to the endpoint ({cause.status}).",
                status=cause.status,
            )
        if isinstance(cause, aiohttp.ClientProxyConnectionError):
            return Disconnected(
                f"The proxy that {variable} names cannot be reached ({cause.host}:{cause.port}); correct {variable}, "
                "or add the endpoint's host to NO_PROXY."
            )
        cause = cause.__cause__
    return None
