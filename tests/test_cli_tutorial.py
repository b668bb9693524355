"""The documentation's commands from top to bottom, on two films, and a preview as its user sees it on a terminal."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tests import media
from tests.blocks import PAGES, ROOT, commands
from tests.command import Done, cells, lvqa
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault

KEY = "sk-planted-0123456789abcdef"
PREVIEW = "lvqa preview job.yaml -n 2"
ORDER = ("tutorial", "trainers", "cost-and-speed", "operations", "README", "analyze")
"""Pages with commands that are run here; what they build on comes first."""


@dataclass(frozen=True)
class Followed:
    """What came of following the pages.

    Attributes:
        done: What each command said.
        screen: All that the preview wrote to the terminal.
        asked: How many requests the endpoint had had, before and after each command.
    """

    folder: Path
    done: dict[str, Done]
    screen: str
    asked: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    folder = tmp_path_factory.mktemp("own videos")
    (folder / "videos").mkdir()
    film = media.make_video(folder / "videos" / "a film, ünnamed.mp4", seconds=3, scenes=(1.0, 2.0))
    shutil.copy(film, folder / "film.mp4")
    media.make_video(folder / "videos" / "b.mp4", seconds=3, scenes=(1.5,))
    with FakeEndpoint(api_key=KEY, models=("gpt-4.1-mini", "gpt-4.1")) as fake, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        written_as_shown(folder, fake)
        fake.fail_next(Fault.SERVER_ERROR)
        done: dict[str, Done] = {}
        asked: dict[str, tuple[int, int]] = {}
        screen = ""
        for text in (command.text for page in ORDER for command in commands(page_of(page)) if not command.needs):
            before = len(fake.requests)
            words = text.replace("https://api.openai.com/v1", fake.base_url).split()[1:]
            if text == PREVIEW:
                done[text], screen = on_a_terminal(*words)
            else:
                done[text] = lvqa(*words, OPENAI_API_KEY=KEY)
            asked[text] = (before, len(fake.requests))
        yield Followed(folder, done, screen, asked)


def page_of(stem: str) -> Path:
    return next(page for page in PAGES if page.stem == stem)


def written_as_shown(folder: Path, fake: FakeEndpoint) -> None:
    """The job files that the pages speak of, as they are there, at the endpoint of the test and on two cores."""
    (shown,) = re.findall(r"```yaml\n(.*?)```", page_of("tutorial").read_text(encoding="utf-8"), re.DOTALL)
    (folder / "jobs").mkdir()
    full = (ROOT / "jobs" / "full.yaml").read_text(encoding="utf-8")
    for name, text in (("job.yaml", shown), ("jobs/full.yaml", full)):
        job = yaml.safe_load(text.replace("https://api.openai.com/v1", fake.base_url))
        job.setdefault("engine", {})["num_cpus"] = 2
        job.setdefault("checks", {})["duplicates"] = {"corpus": False}  # films made alike are asked alike
        (folder / name).write_text(yaml.safe_dump(job), encoding="utf-8")


def on_a_terminal(*words: str) -> tuple[Done, str]:
    """A command of a process of its own, which talks to a terminal: what it says, and what the terminal is sent."""
    leader, follower = pty.openpty()
    sent: list[bytes] = []

    def read() -> None:
        while True:
            try:
                sent.append(os.read(leader, 65536))
            except OSError:  # nobody holds the other end
                return

    code = "from lvqa_ray.cli import main; main()"
    env = os.environ | {"OPENAI_API_KEY": KEY, "COLUMNS": "160", "LINES": "50", "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=follower, env=env
    ) as run:
        os.close(follower)
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        out, _ = run.communicate()
        reader.join(10)
    os.close(leader)
    screen = b"".join(sent).decode()
    return Done(run.returncode, out.decode(), ""), screen


def test_each_command_does_what_its_page_says(followed: Followed) -> None:
    """In order, each with the status that its page gives it."""
    assert {text: done.stderr for text, done in followed.done.items() if done.returncode != 0} == {}
    out = followed.folder / "out"
    assert (out / "hf" / "README.md").exists()
    assert {path.name for path in out.glob("long-rl*")} == {"long-rl.train.jsonl", "long-rl.test.jsonl"}
    assert len(list((out / "captions").glob("*.srt"))) == 2
    assert "questions kept" in followed.done["lvqa audit out/"].stdout
    assert "Verified: 2 with records" in followed.done["lvqa verify out/"].stdout
    told = followed.done["lvqa analyze --task-id night-1 --tasks titles --job job.yaml"]
    assert told.stdout.strip()


def test_what_is_paid_is_paid_by_the_preview_alone(followed: Followed) -> None:
    """Nothing before it asks for more than the list of models, and what comes after it finds all of it done."""
    paying = {text for text, (before, after) in followed.asked.items() if after > before}
    assert {text for text in paying if "analyze" not in text} == {PREVIEW}
    assert cells(followed.done["lvqa plan jobs/full.yaml --set split.max_seconds=20"].stdout)["already done"] == "0"


def test_a_preview_shows_the_questions_of_its_videos(followed: Followed) -> None:
    shown = followed.done[PREVIEW].stdout
    records = pq.read_table(followed.folder / "out" / "data").to_pylist()
    assert {record["id"] for record in records} >= {"a_film_ünnamed_q0", "b_q0"}
    assert shown.index("a_film_ünnamed") < shown.index("b.mp4")
    for record in records:
        asked: dict[str, Any] = record["parsed_reasoning"]
        assert " ".join(asked["QUESTION"].split()) in " ".join(shown.split())
        assert f"{asked['ANSWER']}. {asked['OPTIONS'][asked['ANSWER']]}" in shown


def test_on_a_terminal_there_is_one_panel_and_nothing_of_rays(followed: Followed) -> None:
    """Without colours, as NO_COLOR asks; the last look has all that was paid."""
    screen = followed.screen
    for text in (
        "lvqa: ",
        "videos",
        "captions",
        "questions",
        "paid calls",
        "gpt-4.1-mini at 127.0.0.1",
        "in flight",
    ):
        assert text in screen, text
    for text in ("Running Dataset", "tasks;", "(pid=", '{"seconds"', "Traceback", "\x1b[31m", "\x1b[1;31m"):
        assert text not in screen, text
    assert "Verified: 2 with records + 0 failed = 2 of 2 videos" in screen


def test_nothing_holds_the_key(followed: Followed) -> None:
    """Though the endpoint echoes it in an error."""
    written = b"".join(path.read_bytes() for path in followed.folder.rglob("*") if path.is_file())
    said = followed.screen + "".join(done.stdout + done.stderr for done in followed.done.values())
    assert KEY.encode() not in written
    assert KEY not in said


def test_the_report_holds_each_exchange(followed: Followed) -> None:
    page = (followed.folder / "out" / "report.html").read_text(encoding="utf-8")
    films = [
        json.loads(zlib.decompress(base64.b64decode(packed))) for packed in re.findall(r'id="film-\d">([^<]+)<', page)
    ]
    assert len(films) == 2
    for film in films:
        said = [exchange["stage"] for exchange in film["said"]]
        assert [said.count(stage) for stage in ("caption", "ask")] == [1, 1]
        assert said.count("reformat") > 0
        assert film["strip"]["times"][0] is not None


def test_an_export_has_a_file_of_its_own(followed: Followed) -> None:
    out = followed.folder / "out"
    assert lvqa("export", out, "--format", "dataflow-json").returncode == 0
    made = json.loads((out / "dataflow.json").read_text(encoding="utf-8"))
    assert {"a_film_ünnamed_q0", "b_q0"} <= {record["id"] for record in made}
    assert "is a folder" in lvqa("export", out, "--to", followed.folder).stderr
