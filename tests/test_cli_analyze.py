"""``lvqa analyze``: one video as its user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from lvqa_ray.cli.analyze import STYLE_CHOICES as NAMED_STYLES
from lvqa_ray.cli.analyze import TASK_CHOICES as NAMED_TASKS
from lvqa_ray.cli.commands import app
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import STYLES, TASKS
from tests import media
from tests.conftest import MODEL
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import STORY, TITLES, told


def analyze(fake: FakeEndpoint, out: Path, *words: Any) -> Result:
    at = ["--base-url", fake.base_url, "--vlm-model", MODEL, "--llm-model", MODEL, "--api-key-env", "NO_KEY"]
    given = ["analyze", *words, *at, "--out", out, "--set", "split.max_seconds=1", "--set", "engine.num_cpus=1"]
    return CliRunner().invoke(app, [str(word) for word in given])


def test_one_video_is_told_as_it_goes_and_a_later_call_builds_on_it(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.answer = told
    film, out = media.make_video(tmp_path / "film.mp4", seconds=2, fps=5), tmp_path / "out"
    first = analyze(fake, out, film, "--tasks", "analysis,summary", "--task-id", "night-1")
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("# analysis\n\n00:00-00:01  ")
    assert first.stdout.endswith(f"# summary (plot_detail)\n\n{STORY}\n")
    assert "3 replies, 0 of them from the cache" in " ".join(first.stderr.split())
    film.unlink()
    second = analyze(fake, out, "--task-id", "night-1", "--tasks", "titles,mind_map", "--json")
    assert second.exit_code == 0, second.output
    lines = [json.loads(line) for line in second.stdout.splitlines()]
    assert [(line["event"], line.get("task")) for line in lines] == [
        ("result", "summary"),
        ("result", "titles"),
        ("result", "mind_map"),
        ("end", "night-1"),
    ]
    assert lines[1]["value"] == {"titles": [*TITLES]}
    assert (lines[-1]["usage"]["calls"], lines[-1]["usage"]["cached"], fake.paid.total()) == (5, 3, 5)
    assert {path.parent.name for path in out.glob("analyses/*/*.json")} == {"night-1"}


def test_what_cannot_be_is_said_in_one_sentence(fake: FakeEndpoint, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no film")
    assert analyze(fake, tmp_path / "out", film).exit_code == 1, "the part that was wanted is lacking"
    for words, says in (
        ((film, "--tasks", "songs"), "analysis.tasks"),
        ((film, "--style", "haiku"), "summary"),
        ((film, "--set", "engine.max_cost=1"), "no price is known for"),
        ((tmp_path / "none.mp4",), "does not exist"),
    ):
        error = analyze(fake, tmp_path / "out", *words).exception
        assert isinstance(error, ConfigError)
        assert says in str(error)
    mistakes: dict[str, list[str]] = {
        "give a video": [],
        "there is no result new": ["--task-id", "new"],
        "--task-id ../x is not valid": [str(film), "--task-id", "../x"],
    }
    for says, given in mistakes.items():
        refused = analyze(fake, tmp_path / "out", *given)
        assert refused.exit_code == 2
        assert says in refused.stderr
    assert fake.asked == 0


def test_the_help_names_all_tasks_and_styles() -> None:
    assert (NAMED_TASKS, NAMED_STYLES) == (TASKS, STYLES)
