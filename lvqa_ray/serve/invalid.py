"""What is wrong with a request."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is not taken on.

    Args:
        code: The code of the error, such as ``InvalidParam``.
        message: One sentence without secrets: what is wrong, and the mend.
        status: The HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def invalid(message: str) -> RefusedError:
    """A parameter that cannot be used."""
    return RefusedError("InvalidParam", message)
