"""Ray without telemetry: no usage statistics, and no API server in a Ray that a job starts for itself.

With ``include_dashboard=False`` Ray's API server has one module left, the usage statistics. Even where these are
disabled it asks the metadata services of three clouds which one this machine belongs to: HTTP requests to
169.254.169.254 and a look-up of metadata.google.internal. Ray itself runs without the server where that cannot start.
"""

from __future__ import annotations

import os
from typing import Any

ENABLED_BY = "RAY_USAGE_STATS_ENABLED"


def disable_telemetry() -> None:
    """Disable the usage statistics of the Ray that this process starts next, unless the user enabled them."""
    os.environ.setdefault(ENABLED_BY, "0")
    if os.environ[ENABLED_BY] == "0":
        from ray._private import services  # noqa: PLC0415 - no public setting leaves the server out

        private: Any = services
        private.start_api_server = _no_server


def _no_server(*_: object, **__: object) -> tuple[None, None]:
    """What Ray's function gives where the server does not start and need not."""
    return None, None
