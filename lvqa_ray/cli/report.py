"""``lvqa report``: an output in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray.cli.arguments import Output, place_given
from lvqa_ray.cli.display.terminal import plain, say, talk
from lvqa_ray.errors import LvqaError

if TYPE_CHECKING:
    from lvqa_ray.dataset.reader import OutputReader as Written
    from lvqa_ray.report.page import Report
    from lvqa_ray.storage.paths import StoragePath

AFTER_A_RUN_S = 10.0
"""How long thumbnails may take at the end of a run, and prompts as long again."""
MOST_JOURNAL_BYTES = 500_000_000
"""With a larger journal a run leaves the report to be asked for."""


def report(
    output: Output,
    *,
    to: Annotated[Path | None, typer.Option("--to", help="File to write; else OUTPUT/report.html.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="Longest time for thumbnails; 0 for none. Prompts have as long, or 30 s.")
    ] = 120.0,
) -> None:
    """Write one HTML file that shows an output: its numbers, and its records one by one. It opens without a network."""
    made = _write(place_given(output), to, seconds)
    some = "" if made.videos == made.of else f"; a sample of {made.videos:,} of {made.of:,} videos"
    talk.print(f"{made.bytes / 1e6:.1f} MB{some}", highlight=False)
    say(str(made.path))


def report_after_run(folder: StoragePath, told: str, *, quiet: bool = False) -> None:
    """Write the report where that is cheap, and say where it is; whatever goes wrong with it is no fault of the run.

    Args:
        folder: The output.
        told: What `report` is to be given for it.
        quiet: Do not say where it is.
    """
    command = f"lvqa report {plain(told)}"
    journal = (folder / "cache").glob("*.jsonl") if isinstance(folder, Path) else iter(())
    if not isinstance(folder, Path) or sum(file.stat().st_size for file in journal) > MOST_JOURNAL_BYTES:
        if not quiet:
            talk.print(f"To look at it: {command}", soft_wrap=True)
        return
    try:
        made = _write(folder, None, AFTER_A_RUN_S)
    except LvqaError as error:
        talk.print(f"No report was written: {plain(str(error))}", soft_wrap=True)
    except Exception as error:  # a defect of the report does not make a good run look bad
        talk.print(f"No report was written ({type(error).__name__}); {command} says more.", soft_wrap=True)
    else:
        if not quiet:
            talk.print(f"Report: {plain(str(made.path))}", soft_wrap=True)


def output_at(place: StoragePath) -> Written:
    """The output at a place.

    Raises:
        ConfigError: There is none.
    """
    from lvqa_ray.dataset.reader import opened  # noqa: PLC0415
    from lvqa_ray.journal.locations import open_segments  # noqa: PLC0415 - Ray and Arrow take seconds to import

    return opened(place, open_segments(place / "cache", make=False))


def _write(place: StoragePath, to: Path | None, within_s: float) -> Report:
    from lvqa_ray.journal.found_clips import clips_found  # noqa: PLC0415 - as above
    from lvqa_ray.report.page import write_report  # noqa: PLC0415

    return write_report(output_at(place), to, found=clips_found(place), within_s=within_s)
