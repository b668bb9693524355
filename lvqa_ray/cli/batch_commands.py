"""Command ``lvqa batches``: lists the open file batches of an output, waits for them, cancels or forgets them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray.cli.arguments import Output, resolve_output
from lvqa_ray.cli.display.layout import show_rows
from lvqa_ray.cli.display.terminal import data, fail, plain, say_json, talk
from lvqa_ray.cli.run import AsJson

if TYPE_CHECKING:
    from lvqa_ray.engine.batching.batch_control import ShownBatch

SAID_EVERY_S = 30.0
"""Interval at which a waiting command says what it waits for (s)."""


def batches(
    output: Output,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they end, and keep their answers.")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel them. The endpoint charges requests that it has answered already.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Give up their answers: the next run sends and pays for their requests again."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the file batches of a run that have not ended (tier batch). The next run uses their answers."""
    from lvqa_ray.engine.batching import batch_control  # noqa: PLC0415 - `lvqa --help` need not load it
    from lvqa_ray.storage.run_lock import run_lock  # noqa: PLC0415 - as above

    folder = resolve_output(output)
    journal = folder / "cache"
    if not journal.is_dir():
        fail(f"{output} has no cache. Give the output folder of a run.")
    if wait and forget:
        fail("--wait keeps the answers of the batches and --forget gives them up. Give one of the two.")
    found = batch_control.open_batches(journal)
    shown = batch_control.show_batches(found, cancel=cancel) if cancel or not forget else []
    if forget and found:
        with run_lock(folder):
            forgotten = batch_control.forget_batches(journal)
        talk.print(f"File batches forgotten: {forgotten}. The next run sends their requests again.", soft_wrap=True)
        shown = []
    if wait and shown:
        said_at = 0.0

        def say_what(waiting: str) -> None:
            nonlocal said_at
            if time.monotonic() - said_at >= SAID_EVERY_S:
                said_at = time.monotonic()
                talk.print(f"Waiting for {plain(waiting)}.", soft_wrap=True)

        with run_lock(folder):
            batch_control.wait_for_batches(journal, say_what)
        shown = batch_control.show_batches(batch_control.open_batches(journal))
    if as_json:
        say_json([_fields(each) for each in shown])
        return
    if not shown:
        talk.print("No file batch is open.")
        return
    headers = ["batch", "model", "status", "processed", "requests", "hours"]
    rows = [[plain(str(value)) for value in _fields(each).values()] for each in shown]
    show_rows(data, "Open file batches", headers, rows, whole=headers)


def _fields(shown: ShownBatch) -> dict[str, str | int | float]:
    state, logged = shown.state, shown.logged
    status = shown.error or ("not created" if state is None else state.status)
    return {
        "batch": logged.id or (state.id if state else "") or logged.tag,
        "model": logged.endpoint.model,
        "status": status,
        "processed": state.done if state else 0,
        "requests": len(logged.entries),
        "hours": round((time.time() - logged.at) / 3600, 2),
    }
