"""`lvqa review` in a real browser: keys, clips, edits and undo, and the tables after the session."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.review.decisions import decisions
from tests import media
from tests.report.made import NAUGHTY, make_output

LIST_OF_OPTIONS = b'{"action": "edit", "after": {"question": "a", "options": ["b"], "answer": "A", "reasoning": "c"}}'


@contextmanager
def session(out: Path | str, *args: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as its user runs it, and the address that it prints."""
    command = [str(Path(sys.executable).with_name("lvqa")), "review", str(out), "--reviewer", "ann", *args]
    env = os.environ | {"COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        try:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", address), (
                process.stderr and process.stderr.read()
            )
            yield process, address
        finally:
            if process.poll() is None:
                process.kill()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    film = media.make_video(tmp_path / "film.mp4", seconds=60, fps=5, scenes=(10.0, 20.0, 30.0, 40.0, 50.0))
    return make_output(tmp_path / "out", 3, video=str(film), say=lambda text: f"{text}{NAUGHTY}"[:2000])


def shown(page: Page) -> str:
    return (page.locator("#about").text_content() or "").split(" · ")[0]


def until(holds: Callable[[], object], page: Page) -> None:
    """Wait until something holds, or fail after a minute."""
    for _ in range(600):
        if holds():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it does not hold after a minute")


def test_a_session_by_keyboard(chromium: Browser, out: Path) -> None:
    wrong: list[str] = []
    with session(out) as (process, address):
        page = chromium.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(address)
        expect(page.locator("#count")).to_contain_text("1 of 11; 0 decided")
        page.keyboard.press("1")
        expect(page.locator("#player")).to_be_visible(timeout=60_000)
        # The clip of ten seconds plays. Not `wait_for_function`, which the page's security policy forbids.
        until(lambda: page.locator("#player").evaluate("player => player.duration > 9"), page)
        accepted = shown(page)
        page.keyboard.press("a")
        expect(page.locator("#count")).to_contain_text("2 of 11; 1 decided")
        dropped = shown(page)
        page.keyboard.press("d")
        page.locator("#reasons input").fill("the video does not show it")
        page.keyboard.press("Enter")
        expect(page.locator("#count")).to_contain_text("3 of 11; 2 decided")
        edited = shown(page)
        page.keyboard.press("e")
        page.locator("#editor textarea[name=question]").fill("Where <b>to</b>?")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#question")).to_have_text("Where <b>to</b>?")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#count")).to_contain_text("4 of 11; 3 decided")
        undone = shown(page)
        page.keyboard.press("a")
        expect(page.locator("#count")).to_contain_text("5 of 11; 4 decided")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#count")).to_contain_text("4 of 11")
        page.keyboard.press("u")
        expect(page.locator("#count")).to_contain_text("4 of 11; 3 decided")
        page.locator("#finish").click()
        expect(page.locator("#ended")).to_be_visible()
        _, said = process.communicate(timeout=60)
        page.close()
    assert wrong == []
    assert process.returncode == 0, said
    assert "1 accepted, 1 edited, 1 dropped." in said
    rows = {row["id"]: row for row in read_rows(out, "data")}
    assert dropped not in rows
    assert rows[edited]["parsed_reasoning"]["QUESTION"] == "Where <b>to</b>?"
    assert rows[accepted]["checks"][-1]["check"] == "review"
    assert all(check["check"] != "review" for check in rows[undone]["checks"])
    assert [one.action for one in decisions(out)] == ["accept", "drop", "edit", "accept", "undo"]


def test_decisions_outlive_a_killed_session_and_the_next_one_applies_them(chromium: Browser, out: Path) -> None:
    with session(out) as (process, address):
        page = chromium.new_page()
        page.goto(address)
        dropped = shown_when_ready(page)
        page.keyboard.press("d")
        page.locator("#reasons input").fill("unclear")
        page.keyboard.press("Enter")
        expect(page.locator("#count")).to_contain_text("1 decided")
        process.kill()
        page.close()
    assert dropped in {row["id"] for row in read_rows(out, "data")}
    with session(out) as (process, _):
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert "Applied from an earlier session: 0 accepted, 0 edited, 1 dropped." in said
    assert dropped not in {row["id"] for row in read_rows(out, "data")}


def test_nobody_else_gets_in(out: Path) -> None:
    with session(out) as (_, address):
        root = re.match(r"http://[^/]+", address)
        assert root
        for url, headers in (
            (f"{root[0]}/", {}),
            (f"{root[0]}/wrong/api/queue", {}),
            (address, {"Host": "evil.example"}),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(url, headers=headers))  # noqa: S310 - loopback
            assert refused.value.code in {403, 404}
        for body in (
            b"{}",
            b"[]",
            b'{"action": "drop"}',
            b'{"action": "burn"}',
            b'{"action": "edit", "after": {}}',
            LIST_OF_OPTIONS,
            b"\xff",
        ):
            asked = urllib.request.Request(f"{address}api/records/0", data=body)  # noqa: S310 - loopback
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(asked)  # noqa: S310
            assert refused.value.code == 400


def shown_when_ready(page: Page) -> str:
    expect(page.locator("#main")).to_be_visible()
    expect(page.locator("#about")).not_to_be_empty()
    return shown(page)
