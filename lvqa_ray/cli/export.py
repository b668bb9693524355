"""``lvqa export``: an output in another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvqa_ray.cli.arguments import Output, place_given
from lvqa_ray.cli.display.terminal import fail, plain, say, talk
from lvqa_ray.cli.report import output_at

# None of them has the name of a table, which would then hold what is no Parquet.
FOLDERS = {"hf": "hf", "srt": "captions", "vtt": "captions", "speech-srt": "speech", "speech-vtt": "speech"}
FORMS = ("dataflow-json", "llava", "sharegpt", "long-rl", "open-ended", *FOLDERS)


def export(
    output: Output,
    *,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="File (.json for one array) or, for hf, srt, vtt, folder; else in OUTPUT, or here."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMS)}.")] = "dataflow-json",
    test_fraction: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the videos that become test data, with all their questions.")
    ] = 0.0,
    licence: Annotated[str, typer.Option("--license", help="For the card of hf, such as cc-by-4.0.")] = "",
) -> None:
    """Write the records of a run, its captions, or what is said in its videos, in another tool's format."""
    if form not in FORMS:
        fail(f"there is no format {form}; there is {', '.join(FORMS)}.")
    if test_fraction and FOLDERS.get(form) in {"captions", "speech"}:
        fail(f"--test-fraction divides records, and {form} holds captions or speech; leave it out.")
    if licence and form != "hf":
        fail(f"--license is for the card of the format hf, and {form} has none; leave it out.")
    suffix = "json" if form == "dataflow-json" else "jsonl"
    name = FOLDERS.get(form, f"{form.removesuffix('-json')}.{suffix}")
    given = output_at(place_given(output))
    target = to or (given.folder if isinstance(given.folder, Path) else Path()) / name
    if form == "hf":
        from lvqa_ray.report.dataset import export_dataset  # noqa: PLC0415 - Arrow takes a second to import

        made = export_dataset(given, target, test_fraction, licence)
        if not licence:
            talk.print(f"Set the licence in {plain(str(target / 'README.md'))} before you publish it.", soft_wrap=True)
    elif form in FOLDERS:
        from lvqa_ray.report.subtitle_export import export_subtitles  # noqa: PLC0415

        made = export_subtitles(given, target, form.removeprefix("speech-"), speech=FOLDERS[form] == "speech")
    else:
        from lvqa_ray.report.export_files import export_lines  # noqa: PLC0415

        made = export_lines(given, target, form, test_fraction)
    parts = ", ".join(
        f"{number:,} {made.what}{'' if part == 'all' else f' for {part}'}" for part, number in made.counts.items()
    )
    left_out = f"; {made.left_out:,} left out, which cannot do without their options" if made.left_out else ""
    talk.print(f"{parts}{left_out}", soft_wrap=True)
    for path in made.paths:
        say(str(path))
