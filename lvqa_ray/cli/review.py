"""Command ``lvqa review``: judge records in a browser."""

from __future__ import annotations

import asyncio
import getpass
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray.cli.arguments import Output, resolve_output
from lvqa_ray.cli.display.terminal import plain, say, talk
from lvqa_ray.cli.report import output_at
from lvqa_ray.errors import ConfigError

if TYPE_CHECKING:
    from lvqa_ray.config import Job
    from lvqa_ray.storage.options import StorageOptions
    from lvqa_ray.storage.paths import StoragePath


def review(
    output: Output,
    *,
    where: Annotated[str, typer.Option(help="Condition on the columns of data/, as for lvqa export.")] = "",
    sample: Annotated[
        int,
        typer.Option(
            min=0,
            help="Review a random sample of this size, stratified by category, kind and faults; 0 for all records.",
        ),
    ] = 0,
    seed: Annotated[
        int, typer.Option(help="Seed of the sample: reviewers with the same seed see the same records.")
    ] = 0,
    reviewer: Annotated[str, typer.Option(help="Your name in the table of reviews. Default: your login.")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 for any free one.")] = 0,
) -> None:
    """Show records one by one in a browser, to accept, drop or edit them. The tables change when the session ends."""
    from lvqa_ray.report.row_filter import RowFilter  # noqa: PLC0415 - Arrow takes a second to import
    from lvqa_ray.review.clip_player import ClipPlayer  # noqa: PLC0415
    from lvqa_ray.review.decisions import DecisionLog  # noqa: PLC0415
    from lvqa_ray.review.queue import review_queue  # noqa: PLC0415
    from lvqa_ray.review.review_server import ReviewServer  # noqa: PLC0415

    folder = resolve_output(output)
    name = reviewer.strip() or _login()
    _apply(folder, "Applied from an earlier session: ")
    written = output_at(folder)
    queue = review_queue(written, name, where=RowFilter(where) if where.strip() else None, sample=sample, seed=seed)
    rest = f" of {queue.of:,}" if queue.of > len(queue.rows) else ""
    talk.print(f"{len(queue.rows):,}{rest} records to review as {name}. Open this page; Ctrl-C ends the session:")
    access = _access(written.job)
    with tempfile.TemporaryDirectory(prefix="lvqa-review-") as clips:

        async def serve() -> None:
            await ReviewServer(queue, DecisionLog(folder), name, ClipPlayer(Path(clips), access)).serve(port, say)

        with suppress(KeyboardInterrupt):
            asyncio.run(serve())
    if not _apply(folder):
        raise typer.Exit(1)


def _apply(folder: StoragePath, begin: str = "") -> bool:
    """Apply the decisions and print what changed, with this beginning; returns whether that was possible."""
    from lvqa_ray.journal.run_ids import next_run_id  # noqa: PLC0415 - as above
    from lvqa_ray.review.application import apply_decisions  # noqa: PLC0415
    from lvqa_ray.storage.paths import describe_os_error  # noqa: PLC0415
    from lvqa_ray.storage.run_lock import run_lock  # noqa: PLC0415

    try:
        with run_lock(folder):
            made = apply_decisions(folder, next_run_id([]))
    except ConfigError as error:
        talk.print(plain(f"The decisions are stored, and not applied yet: {error} The next lvqa review applies them."))
        return False
    except OSError as error:
        raise ConfigError(f"The decisions are stored, and not applied yet: {describe_os_error(error)}") from None
    if begin and not (made.accepted or made.edited or made.dropped):
        return True
    stale = f", {made.stale:,} not applied (the record has changed since)" if made.stale else ""
    talk.print(f"{begin}{made.accepted:,} accepted, {made.edited:,} edited, {made.dropped:,} dropped{stale}.")
    return True


def _access(job: Job | None) -> StorageOptions:
    """How the stored job reaches its videos and clips; as this machine does if it cannot be done here."""
    from lvqa_ray.config.places import storage_options  # noqa: PLC0415 - as above
    from lvqa_ray.storage.options import StorageOptions  # noqa: PLC0415

    if job is not None:
        try:
            return storage_options(job.storage)
        except ConfigError as error:
            talk.print(plain(f"Clips in a bucket are fetched without the section storage of the job: {error}"))
    return StorageOptions.here()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return "reviewer"
