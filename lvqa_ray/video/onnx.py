"""ONNX Runtime without telemetry: since 1.29 its wheels for Linux and macOS report every session to its maker."""

from __future__ import annotations

import importlib.util
import os

DISABLED_BY = "ORT_DISABLE_TELEMETRY"
"""Read by ONNX Runtime once, where it is loaded: with 1, nothing is collected, stored or sent."""


def disable_telemetry() -> None:
    """Disable the telemetry of ONNX Runtime; to be called before anything loads it."""
    os.environ[DISABLED_BY] = "1"
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415 - loaded where it is used

        onnxruntime.disable_telemetry_events()  # what older releases and Windows heed
