"""What is printed: visible text, whole tables, a panel that a background job does not draw."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from lvqa_ray.cli.display.layout import pairs, show, show_rows
from lvqa_ray.cli.display.panel import Screen
from lvqa_ray.cli.display.summaries import total_cost
from lvqa_ray.cli.display.terminal import ConsoleHandler, _Visible, plain
from lvqa_ray.cli.display.visible import json_text, visible
from lvqa_ray.engine.progress import Progress
from lvqa_ray.engine.ray.session.quiet import core_lines_dropped
from lvqa_ray.engine.secrets import environment_without
from lvqa_ray.journal.costs import Spent


def test_invisible_characters_become_text_and_others_stay() -> None:
    assert visible("a\x1b[31m\x9b\r\u202e\udcff\U000e0041") == "a\\x1b[31m\\x9b\\r\\u202e\\xff\\U000e0041"
    assert visible("ünï 漢字 👩\u200d👩\n\t|") == "ünï 漢字 👩\u200d👩\n\t|"
    assert visible("a\nb\tc", one_line=True) == "a\\nb\\tc"
    value = {"ü\u202e": "\x9b \x1b \U000e0041 \ud800"}
    assert json.loads(json_text(value)) == value
    assert json_text(value).startswith('{"ü\\u202e": "\\u009b \\u001b')


def test_markup_and_emoji_of_names_are_text() -> None:
    console = _Visible()
    for name in ("[bold]a", "a\\", "a\\[b]", ":cat:.mp4", "[/]", "\x1b[2J"):
        with console.capture() as printed:
            console.print(f"[bold]{plain(name)}[/]|")
        assert printed.get() == f"{visible(name)}|\n"


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_kind_is_cut_off(width: int) -> None:
    kind = "all_clips_filtered"
    for terminal in (True, False):
        console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
        show_rows(console, "Failures", ("kind", "n", "reason"), [(kind, "3", "why " * 30)], whole=("kind", "n"))
        made = pairs("Run")
        made.add_row("a" * 50, "b")
        show(console, made)
        written = console.file.getvalue()  # type: ignore[attr-defined]
        assert kind in written
        assert "…" not in written
        assert written.count("a") >= 50


def test_the_cost_of_a_run_is_a_sum_or_says_what_is_missing() -> None:
    assert total_cost({}) == "$0.0000"
    assert total_cost({"ask": Spent(calls=1, cost_usd=0.5), "caption": Spent(calls=2, cost_usd=0.25)}) == "$0.7500"
    assert total_cost({"ask": Spent(calls=1, cost_usd=0.5), "blind": Spent(calls=1)}).startswith("at least $0.5000: no")
    assert total_cost({"blind": Spent(calls=1)}).startswith("not known: no price is known for blind")


def test_the_panel_makes_way_for_what_is_printed() -> None:
    console = Console(file=io.StringIO(), width=120, height=40, force_terminal=True, color_system=None)
    with Screen(console, "lvqa: out") as screen:
        screen.update(Progress(25.0, 0, phase="Ray to start", still_s=25.0, waiting="Ray to start"))
        screen.update(Progress(1.0, 2, waiting="a word", still_s=21.0))
        screen.update(Progress(2.0, 2))
        ConsoleHandler(console).emit(logging.makeLogRecord({"msg": "a log line"}))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Waiting for Ray to start, for 0:25" in shown
    assert "for 0:21 nothing has moved; waiting for a word" in shown
    assert shown.count("lvqa: out") == 2
    assert "\x1b[?25l" not in shown, "the cursor is never hidden"
    assert shown.rstrip().endswith("a log line")


def test_lines_of_rays_core_are_dropped_and_others_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with core_lines_dropped():
        os.write(2, b"[2026-11-28 20:09:54,093 I 25244 25244] logging.cc:303: Set ray log level\nmine\n")
        sys.stderr.write("and mine\n")
        os.write(2, b"[2026-11-28 20:09:54,093 E 25244 25244] core: an error\n")
    written = capfd.readouterr().err
    assert "Set ray log level" not in written
    assert [word for word in ("mine", "and mine", "an error") if word in written] == ["mine", "and mine", "an error"]


def test_keys_are_hidden_for_a_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MY_NAME", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with environment_without({"MY_NAME"}):
        assert [os.environ.get(name) for name in ("MY_NAME", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY")] == [
            None,
            None,
            "x",
        ]
    assert os.environ["MY_NAME"] == os.environ["OPENAI_API_KEY"] == "x"
