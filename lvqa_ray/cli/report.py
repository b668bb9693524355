"""Command ``lvqa report``: write an output as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray.cli.arguments import Output, resolve_output
from lvqa_ray.cli.display.terminal import plain, say, talk
from lvqa_ray.errors import LvqaError

if TYPE_CHECKING:
    from lvqa_ray.dataset.reader import OutputReader as Written
    from lvqa_ray.report.page import Report
    from lvqa_ray.storage.paths import StoragePath

AFTER_A_RUN_S = 10.0
"""Time limit (s) for thumbnails at the end of a run; the same for prompts."""
MOST_JOURNAL_BYTES = 500_000_000
"""With a larger journal, a run prints the command for the report instead of writing it."""


def report(
    output: Output,
    *,
    to: Annotated[Path | None, typer.Option("--to", help="File to write. Default: OUTPUT/report.html.")] = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=0, help="Time limit for thumbnails in seconds; 0 for none. Reading prompts has the same limit, or 30 s."
        ),
    ] = 120.0,
) -> None:
    """Write one HTML file with the statistics and the records of an output. It works offline."""
    made = _write(resolve_output(output), to, seconds)
    some = "" if made.videos == made.of else f"; a sample of {made.videos:,} of {made.of:,} videos"
    talk.print(f"{made.bytes / 1e6:.1f} MB{some}", highlight=False)
    say(str(made.path))


def report_after_run(folder: StoragePath, name: str, *, quiet: bool = False) -> None:
    """Write the report after a run if that is cheap, and print its path. A failure does not fail the run.

    A report that is newer than ``run.json`` stays: the run found nothing to do.

    Args:
        folder: The output.
        name: OUTPUT argument for `lvqa report`.
        quiet: Do not print the path.
    """
    command = f"lvqa report {plain(name)}"
    if isinstance(folder, Path) and _is_newer(folder / "report.html", folder / "run.json"):
        if not quiet:
            talk.print(f"Report: {plain(str(folder / 'report.html'))}", soft_wrap=True)
        return
    journal = (folder / "cache").glob("*.jsonl") if isinstance(folder, Path) else iter(())
    if not isinstance(folder, Path) or sum(file.stat().st_size for file in journal) > MOST_JOURNAL_BYTES:
        if not quiet:
            talk.print(f"To write the report: {command}", soft_wrap=True)
        return
    try:
        made = _write(folder, None, AFTER_A_RUN_S)
    except LvqaError as error:
        talk.print(f"No report was written: {plain(str(error))}", soft_wrap=True)
    except Exception as error:  # a defect of the report must not fail the run
        talk.print(f"No report was written ({type(error).__name__}). Run {command} for details.", soft_wrap=True)
    else:
        if not quiet:
            talk.print(f"Report: {plain(str(made.path))}", soft_wrap=True)


def _is_newer(path: Path, other: Path) -> bool:
    try:
        return path.stat().st_mtime_ns > other.stat().st_mtime_ns
    except OSError:
        return False


def output_at(path: StoragePath) -> Written:
    """Open an output.

    Raises:
        ConfigError: There is no output at this path.
    """
    from lvqa_ray.dataset.reader import opened  # noqa: PLC0415 - Arrow takes a second to import

    return opened(path)


def _write(path: StoragePath, to: Path | None, within_s: float) -> Report:
    from lvqa_ray.journal.found_clips import clips_found  # noqa: PLC0415 - as above
    from lvqa_ray.report.page import write_report  # noqa: PLC0415

    return write_report(output_at(path), to, found=clips_found(path), within_s=within_s)
