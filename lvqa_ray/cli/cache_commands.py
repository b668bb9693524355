"""``lvqa cache``: a look at the journal of paid answers, and its upkeep."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lvqa_ray.cli.arguments import Output, place_given
from lvqa_ray.cli.display.layout import pairs, show
from lvqa_ray.cli.display.terminal import data, fail, plain, say_json, talk
from lvqa_ray.cli.display.visible import visible
from lvqa_ray.cli.run import AsJson
from lvqa_ray.journal import maintenance
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.storage.paths import StoragePath
from lvqa_ray.storage.run_lock import run_lock

app = typer.Typer(help="Look at the journal of paid answers, make it smaller, or empty it.", no_args_is_help=True)


@app.command()
def stats(output: Output, *, as_json: AsJson = False) -> None:
    """Count the answers, and what they cost."""
    counted = maintenance.stats(open_segments(_journal(output)))
    if as_json:
        say_json(asdict(counted))
        return
    table = pairs("Journal")
    table.add_row("segments", str(counted.segments))
    table.add_row("size", f"{counted.bytes:,} bytes")
    table.add_row("answers", str(counted.answers))
    table.add_row("lines that cannot be read", str(counted.corrupt_lines))
    for stage, models in counted.spent.items():
        for model, spent in models.items():
            cost = f", ${spent.cost_usd:.4f}" if spent.cost_usd is not None else ""
            useless = f", {spent.unusable} of no use" if spent.unusable else ""
            tokens = f"{spent.input_tokens:,} tokens in, {spent.output_tokens:,} out"
            table.add_row(plain(f"{stage}: {model}"), f"{spent.calls} paid{useless} ({tokens}{cost})")
    show(data, table)


@app.command()
def compact(output: Output) -> None:
    """Make one file a stage, without lines that are there twice or cannot be read; also of what is known of clips."""
    from lvqa_ray.journal import found_clips  # noqa: PLC0415 - Ray takes seconds to import

    journal = _journal(output)
    with run_lock(place_given(output)):
        try:
            before, after = maintenance.compact(open_segments(journal))
            found_clips.compact(found_clips.clips_folder(journal))
        except OSError as error:
            fail(f"{journal} cannot be written: {error.strerror or error}.")
    talk.print(
        f"{before.segments} files with {before.bytes:,} bytes became {after.segments} with {after.bytes:,}; "
        f"{after.answers} answers."
    )


@app.command()
def clear(
    output: Output, *, yes: Annotated[bool, typer.Option("--yes", help="Delete without asking first.")] = False
) -> None:
    """Delete all paid answers, and what is known of clips; what has no record yet is paid for and decoded again."""
    from lvqa_ray.journal.clip_files import files_folder  # noqa: PLC0415 - as above
    from lvqa_ray.journal.found_clips import clips_folder  # noqa: PLC0415 - as above

    journal = _journal(output)
    with run_lock(place_given(output)):
        counted = maintenance.stats(open_segments(journal))
        if not yes and not typer.confirm(visible(f"Delete {counted.answers} paid answers in {journal}?"), err=True):
            talk.print("Nothing was deleted.")
            raise typer.Exit(1)
        try:
            maintenance.clear(open_segments(journal))
            for beside in (clips_folder(journal), files_folder(journal)):
                if beside.is_dir():
                    maintenance.clear(open_segments(beside, make=False))
        except OSError as error:
            fail(f"{journal} cannot be emptied: {error.strerror or error}.")
    talk.print(f"{counted.answers} answers deleted.")


def _journal(output: str) -> StoragePath:
    journal = place_given(output) / "cache"
    if not journal.is_dir():
        fail(f"{output} holds no journal; give the output folder of a run.")
    return journal
