"""Errors of requests."""

from __future__ import annotations


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


def invalid(message: str) -> RefusedError:
    """Make the error for an invalid parameter."""
    return RefusedError("InvalidParam", message)
