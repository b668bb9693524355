"""Disables Ray's telemetry: no usage statistics, and no API server in a Ray that a job starts.

With ``include_dashboard=False`` the API server only serves the usage statistics. Even if these are disabled, it queries
the metadata services of three clouds: HTTP requests to 169.254.169.254 and a DNS look-up of metadata.google.internal.
Ray runs without the server.
"""

from __future__ import annotations

import os
from typing import Any

ENABLED_BY = "RAY_USAGE_STATS_ENABLED"


def disable_telemetry() -> None:
    """Disable the usage statistics of a Ray that this process starts, unless the user enabled them."""
    os.environ.setdefault(ENABLED_BY, "0")
    if os.environ[ENABLED_BY] == "0":
        from ray._private import services  # noqa: PLC0415 - no public setting leaves the server out

        private: Any = services
        private.start_api_server = _no_server


def _no_server(*_: object, **__: object) -> tuple[None, None]:
    """The result of Ray's function when the server does not start."""
    return None, None
