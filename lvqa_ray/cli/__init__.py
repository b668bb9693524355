"""Command line ``lvqa``: arguments -> job -> engine. Data goes to stdout, messages to stderr."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; see `lvqa_ray.cli.commands.status`."""
    try:
        from lvqa_ray.process_start import collect_rarely  # noqa: PLC0415 - as below

        collect_rarely()
        from lvqa_ray.cli.display.terminal import open_standard_files, set_up_output  # noqa: PLC0415 - as below

        open_standard_files()
        set_up_output()
        from lvqa_ray.cli.commands import status  # noqa: PLC0415 - it takes a second, in which Ctrl-C must work
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status())
