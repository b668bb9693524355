"""Command ``lvqa export``: convert an output to another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvqa_ray.cli.arguments import Output, resolve_output
from lvqa_ray.cli.display.terminal import fail, plain, say, talk
from lvqa_ray.cli.report import output_at
from lvqa_ray.plugins import PluginError
from lvqa_ray.report.export_formats import FORMATS, format_names, format_of

# None has the name of a table, whose folder must hold only Parquet files.
FOLDERS = {"hf": "hf", "srt": "captions", "vtt": "captions", "speech-srt": "speech", "speech-vtt": "speech"}
FORMS = (*FORMATS, *FOLDERS)


def export(
    output: Output,
    *,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="File (.json for one array); for hf, srt and vtt a folder. Default: in OUTPUT, or in the current "
            "folder if OUTPUT is a bucket.",
        ),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(FORMS)}, or of a package.")
    ] = "dataflow-json",
    test_fraction: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, help="Share of the videos for the test split (0 to 0.9). A video's questions stay together."
        ),
    ] = 0.0,
    licence: Annotated[
        str, typer.Option("--license", help="Licence in the dataset card of hf, such as cc-by-4.0.")
    ] = "",
) -> None:
    """Convert the records, captions or speech of an output to another format."""
    lines = None
    if form not in FOLDERS:
        try:
            if form not in (known := format_names()):
                fail(f"unknown format: {form}. Known formats: {', '.join([*known, *FOLDERS])}.")
            lines = format_of(form)
        except PluginError as error:
            fail(f"{error}.")
    if test_fraction and FOLDERS.get(form) in {"captions", "speech"}:
        fail(f"--test-fraction splits records, but {form} holds captions or speech: leave it out.")
    if licence and form != "hf":
        fail("--license is only for the dataset card of hf: leave it out.")
    suffix = "json" if lines and lines.array else "jsonl"
    name = FOLDERS.get(form, f"{form.removesuffix('-json')}.{suffix}")
    given = output_at(resolve_output(output))
    target = to or (given.folder if isinstance(given.folder, Path) else Path()) / name
    if lines:
        from lvqa_ray.report.export_files import export_lines  # noqa: PLC0415 - Arrow takes a second to import

        made = export_lines(given, target, form, test_fraction)
    elif form == "hf":
        from lvqa_ray.report.dataset import export_dataset  # noqa: PLC0415

        made = export_dataset(given, target, test_fraction, licence)
        if not licence:
            talk.print(
                f"Set the licence in {plain(str(target / 'README.md'))} before you publish the data set.",
                soft_wrap=True,
            )
    else:
        from lvqa_ray.report.subtitle_export import export_subtitles  # noqa: PLC0415

        made = export_subtitles(given, target, form.removeprefix("speech-"), speech=FOLDERS[form] == "speech")
    parts = ", ".join(
        f"{number:,} {made.what}{'' if part == 'all' else f' for {part}'}" for part, number in made.counts.items()
    )
    left_out = f"; {made.left_out:,} left out, {lines.lacks}" if made.left_out and lines else ""
    talk.print(f"{parts}{left_out}", soft_wrap=True)
    for path in made.paths:
        say(str(path))
