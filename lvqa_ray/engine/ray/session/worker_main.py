"""Entry point of the workers of a local Ray: makes their imports cheaper, then runs Ray's own entry point.

Called with the path of that and its arguments. Ray starts it by path, so this folder must not stay on the search path.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

UNUSED_AT_START = ("jsonschema",)
"""Packages that Ray imports in each process and that hardly any worker uses: 0.04 CPU seconds. Ray's other one
is requests, which stays: its submodules import each other in an order that only its `__init__` sets up."""


def main() -> None:
    """Prepare the process, and run the worker until it ends."""
    from lvqa_ray.lazy_package import register  # noqa: PLC0415 - found only once the search path is set
    from lvqa_ray.process_start import collect_rarely  # noqa: PLC0415 - as above

    collect_rarely()
    for package in UNUSED_AT_START:
        register(package)
    del sys.path[0], sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[4])
    main()
