"""ONNX Runtime without telemetry: since 1.29 its Linux and macOS wheels report every session to the vendor."""

from __future__ import annotations

import importlib.util
import os

DISABLED_BY = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime reads this variable once, when it is loaded; with 1 it collects, stores and sends nothing."""


def disable_telemetry() -> None:
    """Disable the telemetry of ONNX Runtime; call this before anything loads it."""
    os.environ[DISABLED_BY] = "1"
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 - loaded where it is used

        onnxruntime.disable_telemetry_events()  # for older releases, and on Windows
