"""Command ``lvqa push``: publish an output on the Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from lvqa_ray.cli.arguments import Output, resolve_output
from lvqa_ray.cli.display.terminal import say, talk
from lvqa_ray.cli.report import output_at


def push(
    output: Output,
    repo: Annotated[str, typer.Argument(help="Repository on the hub, as owner/name; it is created if needed.")],
    *,
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="Make a new repository public instead of private; an existing one keeps its visibility."
        ),
    ] = False,
    test_fraction: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the videos for the test split (0 to 0.9).")
    ] = 0.0,
    where: Annotated[str, typer.Option(help="Condition on the columns of data/, as for lvqa export.")] = "",
    columns: Annotated[
        str, typer.Option(help="Columns to publish although they are left out otherwise, such as extra.")
    ] = "",
    video_root: Annotated[
        str, typer.Option(help="Folder or URL prefix of the videos; default: only file names are published.")
    ] = "",
    licence: Annotated[str, typer.Option("--license", help="Licence of the data set, such as cc-by-4.0.")] = "",
) -> None:
    """Publish the records on the Hugging Face Hub, without prompts and local paths. Needs huggingface_hub."""
    from lvqa_ray.report import hub  # noqa: PLC0415 - Arrow takes a second to import
    from lvqa_ray.report.export_files import Selection  # noqa: PLC0415
    from lvqa_ray.report.row_filter import RowFilter  # noqa: PLC0415

    selection = Selection(
        where=RowFilter(where) if where.strip() else None,
        columns=tuple(name for part in columns.split(",") if (name := part.strip())),
        fraction=test_fraction,
    )
    given = output_at(resolve_output(output))
    made = hub.push(given, repo, selection, licence=licence, video_root=video_root, public=public)
    talk.print(", ".join(f"{number:,} records for {part}" for part, number in made.counts.items()), soft_wrap=True)
    if not licence:
        talk.print("Set the licence on the page of the data set before you make it public.", soft_wrap=True)
    say(made.url)
