"""The audit finds what was planted in an output, at its rate, and finds nothing where there is nothing."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from lvqa_ray.cli.audit import _cost
from lvqa_ray.cli.commands import app
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.shards import write_shard
from lvqa_ray.dataset.statistics.audit import Audit
from lvqa_ray.dataset.statistics.output_statistics import count
from lvqa_ray.dataset.statistics.significance import Moments, at_least, share, uniform, wilson
from lvqa_ray.records import LETTERS

RUN = {"run_id": "r", "job_hash": "j", "video": "v", "fingerprint": "f", "input_hash": "i"}
BILL = {"calls": 1, "cached": 0, "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.001}
ROWS = 4000


def verdict(check: str, score: float | None, *, passed: bool = True, **more: Any) -> dict[str, Any]:
    action = None if passed else "dropped"
    return {"check": check, "passed": passed, "action": action, "score": score, "tries": 4, **BILL, **more}


def write(folder: Path, *, at_b: float, long: float, guessed: float) -> None:
    """An output whose keys stand at B, are the longest option, and can be guessed, each that much beyond chance."""
    draw = random.Random(7)  # noqa: S311 - chance that can be repeated is the point
    records, drops = [], []
    for number in range(ROWS):
        key = "B" if draw.random() < at_b else draw.choice(LETTERS)
        longest = key if draw.random() < long else draw.choice(LETTERS)
        options = {letter: "a long way off" if letter == longest else "near by" for letter in LETTERS}
        rate = 1.0 if draw.random() < guessed else sum(draw.random() < 0.25 for _ in range(4)) / 4
        video = {"video_id": f"v{number // 4}", "category": ("plot", "goal")[number % 2]}
        checks = [verdict("grounding", 1.0), verdict("blind", rate, passed=rate < 0.75)]
        if rate >= 0.75:
            drops.append({**video, "id": f"v_q{number}", "check": "blind", "kind": "blind", "checks": checks, **RUN})
            continue
        checks.append(verdict("solve", draw.choice((0.5, 1.0))))
        parsed = {"QUESTION": "?", "OPTIONS": options, "ANSWER": key, "REASONS": []}
        usage = {"caption": BILL, "ask": BILL, "reformat": BILL}
        records.append(
            {**video, "id": f"v_q{number}", "parsed_reasoning": parsed, "checks": checks, "usage": usage, **RUN}
        )
    drops.append({"id": "x", "video_id": "x", "check": "ask", "kind": "bad_options", "checks": [], **RUN})
    lost = {"stage": "ask", "kind": "refusal", "message": "I would rather not.", "usage": {"ask": BILL}}
    write_shard(folder, "failures", "a", [{"id": "w", **lost, **RUN}])
    write_shard(folder, "data", "a", records[::2])
    write_shard(folder, "data", "b", records[1::2])
    write_shard(folder, "drops", "a", drops)
    write_shard(folder, "clips", "a", [{"id": "c", "video_id": "v0", "usage": BILL, **RUN}] * 10)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    sound, crooked = tmp_path_factory.mktemp("sound"), tmp_path_factory.mktemp("crooked")
    write(sound, at_b=0, long=0, guessed=0)
    write(crooked, at_b=0.2, long=0.2, guessed=0.3)
    return sound, crooked


@pytest.fixture(scope="module")
def audits(folders: tuple[Path, Path]) -> tuple[Audit, Audit]:
    return count(OutputReader(folders[0])).audit, count(OutputReader(folders[1])).audit


def test_where_chance_rules_nothing_is_found(audits: tuple[Audit, Audit]) -> None:
    sound, _ = audits
    assert sound.keys_p > 0.01
    assert sound.longest.p > 0.01
    assert sound.longest.low < 0.25 < sound.longest.high
    blind = sound.blind["all"]
    assert blind.low < 0.25 < blind.high
    assert blind.of == ROWS
    assert sound.shortest.of == 0, "three of four are equally short"


def test_what_was_planted_is_found_at_its_rate(audits: tuple[Audit, Audit]) -> None:
    _, crooked = audits
    assert crooked.keys_p < 1e-9
    assert crooked.keys["B"] / crooked.records == pytest.approx(0.2 + 0.8 * 0.25, abs=0.03)
    assert crooked.longest.p < 1e-9
    assert crooked.longest.share == pytest.approx(0.2 + 0.8 * 0.25, abs=0.03)
    assert crooked.blind["all"].low > 0.4
    assert crooked.blind["kept"].mean is not None
    assert crooked.blind["kept"].mean < 0.25, "those that were guessed are gone"


def test_the_books_add_up(audits: tuple[Audit, Audit]) -> None:
    for found in audits:
        assert found.asked == ROWS + 1
        assert found.records + found.dropped["blind"]["blind"] == ROWS
        assert found.dropped["ask"] == {"bad_options": 1}
        assert found.checks["blind"] == {"passed": found.records, "dropped": ROWS - found.records}
        assert sum(found.categories.values()) == sum(found.difficulty.values()) == found.records
        assert set(found.difficulty) == {"0.5", "1"}
        assert found.cost["blind"].calls == ROWS
        assert (found.cost["ask"].calls, found.cost["caption"].calls) == (found.records + 1, 10)
        calls = 11 + 2 * found.records + 2 * ROWS + found.records
        assert found.tokens_per_record == pytest.approx(110 * calls / found.records)
        assert found.usd_per_record == pytest.approx(0.001 * calls / found.records)


def test_the_hits_of_prompt_caches_are_those_that_endpoints_reported(tmp_path: Path) -> None:
    told = {**BILL, "cached_tokens": 40, "reasoning_tokens": 3}
    clips = [{"id": "c", "video_id": "v", "usage": usage, **RUN} for usage in (told, told, BILL)]
    write_shard(tmp_path, "clips", "a", clips)
    write_shard(tmp_path, "failures", "a", [{"id": "v", "kind": "x", "usage": {"ask": BILL}, **RUN}])
    cost = count(OutputReader(tmp_path)).audit.cost
    assert (cost["caption"].cached_tokens, cost["caption"].reasoning_tokens) == (80, 6)
    assert cost["caption"].cache_write_tokens is None
    assert cost["ask"].cached_tokens is None
    assert _cost("caption")[1](count(OutputReader(tmp_path)).audit) == (
        "3 calls, 300 tokens in, 30 out, 27 % of the prompts from the endpoint's cache, 6 of reasoning, $0.0030"
    )


def test_two_outputs_stand_side_by_side(folders: tuple[Path, Path], audits: tuple[Audit, Audit]) -> None:
    done = CliRunner().invoke(app, ["audit", *map(str, folders), "--json"])
    said = json.loads(done.stdout)
    assert [one["records"] for one in said.values()] == [one.records for one in audits]
    assert [one["asked"] for one in said.values()] == [ROWS + 1] * 2
    told = CliRunner().invoke(app, ["audit", str(folders[1])], env={"COLUMNS": "200"}).stdout
    kept = f"{audits[1].records:,} "
    assert re.search(rf"questions kept .* {re.escape(kept)}", told)
    assert "the longest option is the key" in told
    assert "the shortest" not in told


def test_chance_is_computed_right() -> None:
    assert at_least(3, 4, 0.25) == pytest.approx(13 / 256)
    assert at_least(0, 4, 0.25) == 1.0
    assert at_least(50_000, 100_000, 0.25) < 1e-300
    assert at_least(25_000, 100_000, 0.25) == pytest.approx(0.5, abs=0.01)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert uniform([30, 20, 25, 25]) == pytest.approx(0.5724, abs=1e-4)
    assert uniform([0, 0, 0, 0]) == 1.0
    assert share(0, 0, 0.25).share is None


@pytest.mark.parametrize(
    ("hits", "of"), [(1, 5), (3, 4), (5, 10), (10, 10), (700, 2632), (24_000, 100_000), (260, 1000)]
)
def test_chance_is_computed_as_scipy_does(hits: int, of: int) -> None:
    found = share(hits, of, 0.25)
    assert found.p == pytest.approx(stats.binomtest(hits, of, 0.25, alternative="greater").pvalue, rel=1e-8)
    interval = stats.binomtest(hits, of).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-7)


def test_the_spread_of_keys_is_judged_as_scipy_does() -> None:
    for counts in ([30, 20, 25, 25], [3, 0, 0, 0], [600, 200, 250, 250]):
        assert uniform(counts) == pytest.approx(stats.chisquare(counts).pvalue, rel=1e-9)


def test_a_mean_of_parts_is_the_mean_of_all() -> None:
    values = np.random.default_rng(7).random(1000)
    parts = [Moments.of_values(part) for part in np.split(values, [0, 1, 10, 700])]
    found = sum(parts, Moments()).mean()
    half = 1.959964 * values.std(ddof=1) / 1000**0.5
    assert found.of == 1000
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-12)
