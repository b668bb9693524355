"""What is seen while a run goes on, from what it has written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lvqa_ray.cli.display.panel import Lines, as_json, panel
from lvqa_ray.engine.progress import Progress, ProgressReader
from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats
from tests.dataset.test_resume import line, put

RUN = "20260101T000000000000Z"


def answers(folder: Path, stage: str, count: int, **counts: int) -> None:
    said = {"text": "x", "model": "m", "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.5} | counts
    with (folder / "cache" / f"{stage}-{RUN}_w.jsonl").open("a") as file:
        for number in range(count):
            file.write(json.dumps({"key": f"{number:064x}", **said}) + "\n")


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, ProgressReader, list[EndpointStats]]:
    """A run of four videos that is under way, and what its rate limiter says next."""
    (tmp_path / "cache" / "clips").mkdir(parents=True)
    (tmp_path / "cache" / f"caption-{RUN[:-1]}1Z_old.jsonl").write_text("of another run\n")
    said: list[EndpointStats] = [EndpointStats()]
    watch = ProgressReader(tmp_path, RUN, 4, lambda: {"m at h": said[-1]}, {"m at h": (500, None)})
    return tmp_path, watch, said


def test_each_look_adds_what_is_new(run: tuple[Path, ProgressReader, list[EndpointStats]]) -> None:
    folder, watch, said = run
    assert (watch.look().share, watch.look().left_s, watch.look().cost_usd) == (0.0, None, None)
    (folder / "cache" / "clips" / f"clips-{RUN}_a.jsonl").write_text(json.dumps({"key": "", "clips": [{}] * 10}) + "\n")
    answers(folder, "caption", 10)
    seen = watch.look()
    assert seen.hit_share is None
    assert (seen.clips, seen.clips_expected, seen.paid["caption"].calls, seen.cost_usd) == (10, 40, 10, 5.0)
    assert seen.share == pytest.approx(0.95 / 4)
    used = {"caption": {"calls": 5, "cached": 3, "input_tokens": 1, "output_tokens": 1, "cost_usd": None}}
    of_run: dict[str, Any] = {"run_id": RUN}
    put(folder, "data", f"part-{RUN}-1-0", line("v", 0, usage=used, **of_run), line("v", 0, usage=used, **of_run))
    put(folder, "failures", f"part-{RUN}-1-1", line("w", 0, kind="refused", message="I [can] not.", **of_run))
    put(folder, "data", "part-20250101T000000Z-1-0", line("old", 0))
    clips = [{"caption": "A dog runs."}] * 14 + [{"error": "refused"}, {"dropped": "fps_max"}]
    put(folder, "clips", f"part-{RUN}-1-0", *(line("v", 0, index=n, **of_run, **clip) for n, clip in enumerate(clips)))
    answers(folder, "ask", 2)
    said.append(EndpointStats(answered=12, failed={"rate_limited": 3}, in_flight=4, most_in_flight=8, tokens=180))
    seen = watch.look()
    assert (seen.done, seen.failed, seen.kept, seen.cached, seen.paid["ask"].calls) == (1, 1, 2, 6, 2)
    assert (seen.captions, seen.clips_failed) == (14, 1), "four of them came from the journal"
    assert seen.share == 0.5
    assert seen.projected_usd == pytest.approx(12.0)
    assert seen.last_failure == "w: refused: I [can] not."
    assert 0 < seen.speeds["m at h"].requests <= 15 * 60
    assert watch.look().kept == 2, "nothing is counted twice"


def test_the_panel_and_the_line_say_the_same(run: tuple[Path, ProgressReader, list[EndpointStats]]) -> None:
    folder, watch, said = run
    answers(folder, "caption", 3)
    put(folder, "failures", f"part-{RUN}-1-1", line("w", 0, run_id=RUN, kind="refused", message="I [can] not."))
    said.append(EndpointStats(answered=3, failed={"rate_limited": 2}, in_flight=1, most_in_flight=8, tokens=45))
    progress = watch.look()
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    console.print(panel(progress, "lvqa: [out]"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("lvqa: [out]", "0 of 4", "1 failed", "caption 3", "of 500 requests/min", "1 of 8 in flight"):
        assert text in shown
    for text in ("2 x rate_limited", "$1.5", "w: refused: I [can] not."):
        assert text in shown
    said_line = as_json(progress)
    assert said_line["clips"] == {"found": 0, "expected": 0, "captioned": 3, "failed": 0}
    assert said_line["videos"] == {"all": 4, "done": 0, "failed": 1}
    assert said_line["tokens"] == {"in": 30, "out": 15}
    assert said_line["endpoints"]["m at h"]["requests_limit"] == 500
    assert said_line["endpoints"]["m at h"]["in_flight_limit"] == 8
    assert json.loads(json.dumps(said_line)) == said_line
    assert said_line["hit_share"] is None
    assert "prompt cache" not in shown
    answers(folder, "solve", 1, input_tokens=70, cached_tokens=60)
    console.print(panel(watch.look(), "lvqa: [out]"))
    assert "60 % of the prompt tokens" in console.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_terminal_there_is_a_line_in_half_a_minute_or_none() -> None:
    progress = Progress(seconds=1.0, videos=2)
    for quiet, lines in ((False, 1), (True, 0)):
        console = Console(file=io.StringIO(), width=20)
        with Lines(console, quiet=quiet) as view:
            view.update(progress)
            view.update(progress)
        written = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        assert len(written) == lines
        assert all(json.loads(one)["videos"]["all"] == 2 for one in written)
