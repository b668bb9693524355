"""The documentation says what is so: its settings, its commands, its examples."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from typer.testing import CliRunner

from lvqa_ray.cli.commands import app
from lvqa_ray.cli.reference import reference
from lvqa_ray.config import Job
from lvqa_ray.records import AskedQuestion, CaptionedVideo, Question, Video, VideoInfo
from lvqa_ray.records.tables import SCHEMAS, TableName
from tests.blocks import PAGES, ROOT, commands
from tests.test_cli_tutorial import ORDER

COMMAND = re.compile(r"^ *(?:\$ )?lvqa ((?:cache )?[a-z-]+)([^\n#`]*)", re.MULTILINE)
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_that_is_shown_is_run_or_says_what_it_needs(page: Path) -> None:
    """Those that need nothing are run, page by page, in `test_cli_tutorial`."""
    bare = [command.text for command in commands(page) if not command.needs]
    assert not bare or page.stem in ORDER
    assert all(text.startswith("lvqa ") for text in bare)


def test_examples_of_the_pages_work(monkeypatch: pytest.MonkeyPatch) -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (job,) = re.findall(r"```yaml\n(.*?)```", tutorial, re.DOTALL)
    assert Job.of(yaml.safe_load(job)).endpoints.vlm
    writing = (ROOT / "docs" / "writing-a-stage.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", writing, re.DOTALL)
    page = ModuleType("writing_a_stage")
    monkeypatch.setitem(sys.modules, page.__name__, page)  # where a dataclass looks for its names
    exec(compile(code, "writing-a-stage.md", "exec"), page.__dict__)  # noqa: S102 - our own page
    check = page.CheckLength(most=10)
    video = Video(id="v", uri="v.mp4", fingerprint="f")
    info = VideoInfo(num_frames=1, height=1, width=1, fps=1.0, duration_sec=1.0)
    film = CaptionedVideo(video=video, info=info, clips=(), captions="", num_clips=0)
    for stem, passed in (("Why?", True), ("Why is it so long?", False)):
        question = Question(question=stem, options={"A": "a", "B": "b", "C": "c", "D": "d"}, answer="A", steps=())
        verdict = check.judge(AskedQuestion(id="q", category="goal", question=question, reasoning=""), film)
        assert verdict.passed is passed


@pytest.mark.parametrize("table", SCHEMAS)
def test_the_columns_page_lists_the_columns_of_each_table_in_order(table: TableName) -> None:
    page = (ROOT / "docs" / "columns.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {table}\n")[2].partition("\n## ")[0]
    if table == "data":
        listed = [name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in row.split(", ")]
    else:
        listed = re.findall(r"`[a-z_]+`", section)
    assert [name.strip("`") for name in listed] == SCHEMAS[table].names, "docs/columns.md lists other columns"


def test_the_readme_lists_the_columns_of_data_in_order() -> None:
    (said,) = re.findall(
        r"^ {6}data/ +(.*?)^ {6}subtitles/", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    words = re.findall(r"[a-z_]+", re.sub(r"\(.*?\)", "", said.partition(": ")[2].partition(";")[0], flags=re.DOTALL))
    assert [word for word in words if word != "and"] == SCHEMAS["data"].names, "README.md lists other columns"


def test_the_site_builds(tmp_path: Path) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site")))
    assert (tmp_path / "site" / "operations" / "index.html").exists()
