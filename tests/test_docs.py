"""The documentation says what is so: its settings, its commands, its examples."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from typer.main import get_group
from typer.testing import CliRunner

from lvqa_ray.cli.commands import app
from lvqa_ray.cli.display.reference import reference
from lvqa_ray.config import Job
from lvqa_ray.records import (
    Analysis,
    AnalysisRecord,
    CaptionedClip,
    CaptionedVideo,
    Clip,
    Drop,
    Failure,
    FinishedVideo,
    Question,
    Record,
    Span,
    Subtitle,
    Trace,
    Verdict,
    Video,
    VideoInfo,
)
from lvqa_ray.records.table_rows import (
    analysis_rows,
    clip_row,
    data_row,
    drop_row,
    failure_row,
    subtitle_rows,
    trace_rows,
)
from lvqa_ray.records.tables import SCHEMAS, TableName
from tests.blocks import PAGES, ROOT, commands
from tests.test_cli_tutorial import ORDER

COMMAND = re.compile(r"^ *(?:\$ )?lvqa ((?:cache )?[a-z-]+)([^\n#`]*)", re.MULTILINE)
COLUMNS_PAGE = ROOT / "docs" / "columns.md"
INLINE = re.compile(r"`lvqa ((?:cache )?[a-z-]+)([^\n`]*)`")


def test_the_configuration_page_is_that_of_the_program() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == reference(), "run: lvqa schema --markdown > docs/configuration.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_and_option_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    helps: dict[str, str] = {}
    for name, rest in [*COMMAND.findall(text), *INLINE.findall(text)]:
        if name not in helps:
            shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*name.split(), "--help"])
            assert shown.exit_code == 0, f"{page.name} names lvqa {name}"
            helps[name] = shown.output
        for option in re.findall(r"(?<![\w-])(--[a-z-]+|-[a-z])(?![\w-])", rest):
            assert option in helps[name], f"{page.name}: lvqa {name} has no {option}"


def test_the_readme_lists_every_command() -> None:
    listed = re.findall(r"^\|.*?\| `lvqa ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(get_group(app).commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_that_is_shown_is_run_or_says_what_it_needs(page: Path) -> None:
    """Those that need nothing are run, page by page, in `test_cli_tutorial`."""
    bare = [command.text for command in commands(page) if not command.needs]
    assert not bare or page.stem in ORDER
    assert all(text.startswith("lvqa ") for text in bare)


def test_the_job_of_the_tutorial_is_one() -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (job,) = re.findall(r"```yaml\n(.*?)```", tutorial, re.DOTALL)
    assert Job.of(yaml.safe_load(job)).endpoints.vlm


def section(title: str) -> str:
    """A section of the page of columns."""
    return COLUMNS_PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def columns_of(title: str) -> list[tuple[str, str, str]]:
    """The rows of a section's table: column, type, and "yes" where it may be null."""
    return re.findall(r"^\| `(\w+)` \| ([\w<>]+) \| (yes|) ?\|", section(title), re.MULTILINE)


def test_the_columns_page_has_the_columns_and_types_of_every_table_in_order() -> None:
    """The page and the schemas are equal, down to the fields of structs."""
    structs = dict(re.findall(r"^\| ([A-Z]\w+) \| (`.*) \|$", section("Structs"), re.MULTILINE))
    used: set[str] = set()

    def arrow(kind: str) -> pa.DataType:
        if item := re.fullmatch(r"list<(\w+)>", kind):
            return pa.list_(arrow(item[1]))
        if kind not in structs:
            return pa.type_for_alias(kind)
        used.add(kind)
        return pa.struct([(name, arrow(inner)) for name, inner in re.findall(r"`(\w+)` ([\w<>]+)", structs[kind])])

    common = columns_of("Columns of every table")
    for table, schema in SCHEMAS.items():
        listed = pa.schema([(name, arrow(kind)) for name, kind, _ in [*columns_of(table), *common]])
        assert listed.equals(schema), f"docs/columns.md differs from the schema of {table}"
    assert used == set(structs), "docs/columns.md lists a struct that no column has"


def test_the_columns_page_marks_the_columns_that_may_be_null() -> None:
    """Lines of rows that hold as little as they can have null in exactly the columns that the page marks."""
    video = Video(id="v", uri="v.mp4", fingerprint="f")
    info = VideoInfo(num_frames=1, height=1, width=1, fps=1.0, duration_sec=1.0)
    clip = Clip(video=video, info=info, index=0, span=Span(start_s=0, end_s=1), last=True)
    film = CaptionedVideo(video=video, info=info, clips=(), captions="", num_clips=0)
    question = Question(
        question="Which of these?", options={"A": "a", "B": "b", "C": "c", "D": "d"}, answer="A", steps=()
    )
    record = Record(
        film=film,
        id="v_q0",
        category="",
        reasoning="r",
        question=question,
        prompt="p",
        full_question="q",
        reformatted_reasoning="r",
        usage={},
    )
    drop = Drop(id="v_q0", category="", check="ask", kind="bad_json", reason="r")
    failure = Failure(video=video, stage="probe", kind="truncated", message="m")
    said = replace(clip, heard=(Subtitle(start_ms=0, end_ms=1, text="Hello.", source="stream"),))
    prose = Analysis(task="summary")
    (analysis,) = analysis_rows(AnalysisRecord(video=video, results=(prose,), alone=False))
    near = Trace(check="watch", attempt=0, question="q", media="frames", correct=None)
    tried = Verdict(check="watch", passed=False, traces=(near,))
    (trace,) = trace_rows(FinishedVideo(video=video, records=(), drops=(replace(drop, verdicts=(tried,)),)))
    lines: dict[TableName, dict[str, Any]] = {
        "data": data_row(record),
        "clips": clip_row(CaptionedClip(clip=clip)),
        "drops": drop_row(drop, video),
        "failures": failure_row(failure),
        "subtitles": subtitle_rows(said)[0],
        "analysis": analysis,
        "traces": trace,
    }
    for table, line in lines.items():
        marked = {name for name, _, null in columns_of(table) if null}
        assert {name for name, value in line.items() if value is None} == marked, f"docs/columns.md: nulls of {table}"


def test_the_overview_lists_every_page_in_the_order_of_the_site() -> None:
    nav = re.findall(r"^ +- .*: ([a-z-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert nav == ["index.md", *re.findall(r"^\d+\. \[.*?\]\(([a-z-]+\.md)\)", index, re.MULTILINE)]
    assert set(nav) == {page.name for page in PAGES} - {"README.md"}


def test_the_site_builds(tmp_path: Path) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site")))
    assert (tmp_path / "site" / "operations" / "index.html").exists()
    assert "decided by its content" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8"), "no glossary"


def test_the_sizes_of_models_follow_from_the_formula() -> None:
    """docs/cluster.md says that they are derived: weights, KV cache of 32 slots, and 4 GB, at 90 % of the memory."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    row = re.compile(r"(\d+) layers, (\d+) KV heads \| ([\d.]+) GB \| (\d+) kB \| (\d+) GB \|")
    sizes = [tuple(map(float, found)) for found in row.findall(page)]
    assert len(sizes) == 6
    for layers, heads, weights_gb, shown_kb, shown_gb in sizes:
        bytes_per_token = 2 * layers * heads * 128 * 2
        assert round(bytes_per_token / 1000) == shown_kb
        assert round((weights_gb + 32 * 4500 * bytes_per_token / 1e9 + 4) / 0.9) == shown_gb


def test_the_decode_cores_of_a_gpu_follow_from_the_formula() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8").partition("How many decode cores")[2]
    rows = re.findall(r"^\| (\d+) \| (\d+) slots, (\d+) s \| ([\d.]+) \| ([\d.]+) \|", page, re.MULTILINE)
    assert len(rows) == 3
    for captions, slots, seconds, plain, exact in (map(float, row) for row in rows):
        assert round(slots / seconds * 60, -2) == captions
        assert (round(captions / 6 * 2.6 / 60, 1), round(captions / 6 * 6.3 / 60, 1)) == (plain, exact)
