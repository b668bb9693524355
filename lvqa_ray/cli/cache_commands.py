"""Commands ``lvqa cache``: statistics and maintenance of the cache of paid replies."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray.cli.arguments import Output, resolve_output
from lvqa_ray.cli.display.layout import pairs, show
from lvqa_ray.cli.display.terminal import data, fail, plain, say_json, talk
from lvqa_ray.cli.display.visible import visible
from lvqa_ray.cli.run import AsJson

if TYPE_CHECKING:
    from lvqa_ray.storage.paths import StoragePath

app = typer.Typer(help="Show, shrink or empty the cache of paid replies.", no_args_is_help=True)


@app.command()
def stats(output: Output, *, as_json: AsJson = False) -> None:
    """Count the replies and their cost."""
    from lvqa_ray.journal import locations, maintenance  # noqa: PLC0415 - `lvqa --help` need not load them

    counted = maintenance.stats(locations.open_segments(_journal(output)))
    if as_json:
        say_json(asdict(counted))
        return
    table = pairs("Cache")
    table.add_row("files", str(counted.segments))
    table.add_row("size", f"{counted.bytes:,} bytes")
    table.add_row("replies", str(counted.answers))
    table.add_row("unreadable lines", str(counted.corrupt_lines))
    for stage, models in counted.spent.items():
        for model, spent in models.items():
            cost = f", ${spent.cost_usd:.4f}" if spent.cost_usd is not None else ""
            useless = f", {spent.unusable} unusable" if spent.unusable else ""
            tokens = f"{spent.input_tokens:,} tokens in, {spent.output_tokens:,} out"
            table.add_row(plain(f"{stage}: {model}"), f"{spent.calls} paid{useless} ({tokens}{cost})")
    show(data, table)


@app.command()
def compact(output: Output) -> None:
    """Rewrite the cache as one file per stage, without duplicate and unreadable lines. Includes the cache of clips."""
    from lvqa_ray.journal import found_clips, locations, maintenance  # noqa: PLC0415 - as above
    from lvqa_ray.storage.run_lock import run_lock  # noqa: PLC0415 - as above

    journal = _journal(output)
    with run_lock(resolve_output(output)):
        try:
            before, after = maintenance.compact(locations.open_segments(journal))
            found_clips.compact(found_clips.clips_folder(journal))
        except OSError as error:
            fail(f"{journal} cannot be written: {error.strerror or error}.")
    talk.print(
        f"{before.segments} files with {before.bytes:,} bytes became {after.segments} with {after.bytes:,}; "
        f"{after.answers} replies."
    )


@app.command()
def clear(
    output: Output, *, yes: Annotated[bool, typer.Option("--yes", help="Delete without asking first.")] = False
) -> None:
    """Delete all paid replies and the cache of clips. Videos without a record are then paid and decoded again."""
    from lvqa_ray.journal import clip_files, found_clips, locations, maintenance  # noqa: PLC0415 - as above
    from lvqa_ray.storage.run_lock import run_lock  # noqa: PLC0415 - as above

    journal = _journal(output)
    with run_lock(resolve_output(output)):
        counted = maintenance.stats(locations.open_segments(journal))
        if not yes and not typer.confirm(visible(f"Delete {counted.answers} paid replies in {journal}?"), err=True):
            talk.print("Nothing was deleted.")
            raise typer.Exit(1)
        try:
            maintenance.clear(locations.open_segments(journal))
            for folder in (found_clips.clips_folder(journal), clip_files.files_folder(journal)):
                if folder.is_dir():
                    maintenance.clear(locations.open_segments(folder, make=False))
        except OSError as error:
            fail(f"{journal} cannot be emptied: {error.strerror or error}.")
    talk.print(f"{counted.answers} replies deleted.")


def _journal(output: str) -> StoragePath:
    journal = resolve_output(output) / "cache"
    if not journal.is_dir():
        fail(f"{output} has no cache. Give the output folder of a run.")
    return journal
