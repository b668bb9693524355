"""Errors of requests."""

from __future__ import annotations

import uuid
from typing import Any


class RefusedError(Exception):
    """A request that the service refuses.

    Args:
        code: Error code, such as ``InvalidParam``.
        message: One sentence without secrets: the fault and the remedy.
        status: The HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


RETRY_AFTER_S = 5
"""Wait (s) that a 429 or 503 asks for."""


def invalid(message: str) -> RefusedError:
    """Make the error for an invalid parameter."""
    return RefusedError("InvalidParam", message)


def new_request_id() -> str:
    """A random request id, in the form of the vendor's."""
    return str(uuid.uuid4()).upper()


def refusal_fields(error: RefusedError, request_id: str = "") -> dict[str, Any]:
    """JSON fields of a refusal: ``error`` for our clients; the others are what the vendor's SDK reads."""
    code, message = error.code, str(error)
    return {
        "code": code,
        "message": message,
        "requestId": request_id or new_request_id(),
        "httpStatusCode": error.status,
        "success": False,
        "error": {"code": code, "message": message},
    }


def refusal_headers(status: int) -> dict[str, str]:
    """HTTP headers of a refusal; the vendor's SDK reads its own form of ``Retry-After``, in milliseconds."""
    if status == 401:
        return {"www-authenticate": "Bearer"}
    if status in (429, 503):
        return {"retry-after": str(RETRY_AFTER_S), "x-acs-retry-after": str(1000 * RETRY_AFTER_S)}
    return {}
