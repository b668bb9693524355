"""Command ``lvqa export``: convert an output to another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvqa_ray.cli.arguments import Output, resolve_output
from lvqa_ray.cli.display.terminal import fail, plain, say, talk
from lvqa_ray.cli.report import output_at
from lvqa_ray.plugins import PluginError
from lvqa_ray.report.export_formats import FORMATS, ExportFormat, format_names, format_of
from lvqa_ray.report.trainers.formats import TrainerFormat
from lvqa_ray.report.trainers.training_sample import (
    ANSWER_STYLES,
    REASONING_STYLES,
    SampleStyle,
)

# None has the name of a table, whose folder must hold only Parquet files.
FOLDERS = {
    "dpo": "dpo.jsonl",
    "dpo-llamafactory": "dpo-llamafactory.jsonl",
    "dpo-ms-swift": "dpo-ms-swift.jsonl",
    "hf": "hf",
    "llamafactory": "llamafactory",
    "lmms-eval": "lmms-eval",
    "webdataset": "webdataset",
    "srt": "captions",
    "vtt": "captions",
    "speech-srt": "speech",
    "speech-vtt": "speech",
}
SUBTITLE_FOLDERS = {"captions", "speech"}
FORMS = (*FORMATS, *FOLDERS)


def export(
    output: Output,
    *,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="File (.json for one array), or a folder for hf, llamafactory, lmms-eval, webdataset, srt and vtt. "
            "Default: in OUTPUT, or in the current "
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
    where: Annotated[
        str, typer.Option(help="Condition on the columns of data/, such as \"solve_rate < 1 and category == 'goal'\".")
    ] = "",
    columns: Annotated[str, typer.Option(help="Columns of data/ to add to every row, separated by commas.")] = "",
    answer_style: Annotated[
        str,
        typer.Option(
            help=f"How a reply ends: {', '.join(ANSWER_STYLES)}. think_tagged puts the reasoning into <think>."
        ),
    ] = "letter",
    reasoning: Annotated[
        str, typer.Option(help="prose: the rewritten reasoning; timed: one line for each step, with its time.")
    ] = "prose",
    video_root: Annotated[
        str, typer.Option(help="Folder or URL prefix of the videos; their paths are written relative to it.")
    ] = "",
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
    style = _style(answer_style, reasoning, video_root)
    if FOLDERS.get(form) in SUBTITLE_FOLDERS:
        given_options = {
            "--test-fraction": test_fraction,
            "--where": where,
            "--columns": columns,
            "--video-root": video_root,
        }
        for name, value in given_options.items():
            if value:
                fail(f"{name} is for records, but {form} holds captions or speech: leave it out.")
    if licence and form != "hf":
        fail("--license is only for the dataset card of hf: leave it out.")
    if form == "hf" and (columns or style != SampleStyle()):
        fail("hf holds all columns unchanged: leave --columns, --answer-style, --reasoning and --video-root out.")
    given = output_at(resolve_output(output))
    target = to or (given.folder if isinstance(given.folder, Path) else Path()) / _default_name(form, lines)
    from lvqa_ray.report.exports import Request, write_export  # noqa: PLC0415 - Arrow takes a second to import

    names = tuple(name for part in columns.split(",") if (name := part.strip()))
    request = Request(form=form, style=style, where=where, columns=names, fraction=test_fraction, licence=licence)
    made = write_export(given, target, request)
    if form == "hf" and not licence:
        talk.print(
            f"Set the licence in {plain(str(target / 'README.md'))} before you publish the data set.", soft_wrap=True
        )
    parts = ", ".join(
        f"{number:,} {made.what}{'' if part == 'all' else f' for {part}'}" for part, number in made.counts.items()
    )
    left_out = f"; {made.left_out:,} left out, {lines.lacks}" if made.left_out and lines else ""
    talk.print(f"{parts}{left_out}", soft_wrap=True)
    for note in made.notes:
        talk.print(note, soft_wrap=True)
    for path in made.paths:
        say(str(path))


def _style(answer: str, reasoning: str, video_root: str) -> SampleStyle:
    if answer not in ANSWER_STYLES:
        fail(f"unknown --answer-style: {answer}. Known styles: {', '.join(ANSWER_STYLES)}.")
    if reasoning not in REASONING_STYLES:
        fail(f"unknown --reasoning: {reasoning}. Known: {', '.join(REASONING_STYLES)}.")
    return SampleStyle(answer=answer, reasoning=reasoning, video_root=video_root)


def _default_name(form: str, lines: ExportFormat | TrainerFormat | None) -> str:
    if lines is None:
        return FOLDERS[form]
    suffix = "parquet" if lines.schema else "json" if lines.array else "jsonl"
    return f"{form.removesuffix('-json')}.{suffix}"
