"""GPU time of served models: the file beside the tables, and the money that audit and plan make of it."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvqa_ray.dataset.model_use import BROKEN_FILE, FILE, ModelUse, ModelUseLog, gpu_cost, read_model_use
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.statistics.output_statistics import count
from tests.command import cells, lvqa
from tests.conftest import MODEL
from tests.dataset.test_audit import write
from tests.fakes.endpoint import FakeEndpoint
from tests.media import make_video

USE = ModelUse("m on vllm", "m", replicas=2, gpus=4, seconds=1800, price_gpu_hour=2.5)


def test_gpu_hours_are_those_of_all_replicas() -> None:
    assert (USE.gpu_hours, USE.cost_usd) == (4.0, 10.0)
    assert gpu_cost([USE, USE]) == 20.0
    assert gpu_cost([]) == 0.0
    assert gpu_cost([USE, replace(USE, price_gpu_hour=None)]) is None, "unknown is unknown, not 0"
    assert gpu_cost([USE, replace(USE, gpus=0.0, price_gpu_hour=None)]) == 20.0 - USE.gpu_hours * 2.5, "no GPU, no cost"


def test_the_log_keeps_the_use_of_every_run_once(tmp_path: Path) -> None:
    now = [replace(USE, seconds=60.0)]
    first = ModelUseLog(tmp_path, "run-1", lambda: now)
    assert first.with_periodic_write(lambda: 7)() == 7
    now[0] = USE
    first.write()
    ModelUseLog(tmp_path, "run-2", lambda: [USE]).write()
    assert [(use.run_id, use.seconds) for use in read_model_use(tmp_path)] == [("run-1", 1800), ("run-2", 1800)]


def test_a_run_without_served_models_writes_no_file(tmp_path: Path) -> None:
    assert ModelUseLog(tmp_path, "run-1", list).write() == []
    assert not (tmp_path / FILE).exists()
    assert read_model_use(tmp_path) == []


@pytest.mark.parametrize("text", ["", "[]", '{"used": [{"label": 1}]}', '{"used": 3}', "\xff"])
def test_a_broken_file_is_no_use(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="latin-1")
    assert read_model_use(tmp_path) == []
    assert "costs are without GPU hours" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", '{"used": [{"label": 1}]}', '{"used": [3]}', "\xff"])
def test_a_broken_file_is_kept_under_another_name(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_text(text, encoding="latin-1")
    ModelUseLog(tmp_path, "run-1", lambda: [USE]).write()
    assert (tmp_path / BROKEN_FILE).read_text(encoding="latin-1") == text
    assert read_model_use(tmp_path) == [replace(USE, run_id="run-1")]
    assert "models.json.bad" in caplog.text


def test_a_file_that_cannot_be_read_now_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hours of earlier runs come back with the next write, when the disk or the store answers again."""
    ModelUseLog(tmp_path, "run-1", lambda: [USE]).write()
    log = ModelUseLog(tmp_path, "run-2", lambda: [USE])

    def fails(_: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        assert log.write() == [replace(USE, run_id="run-2")]
    assert [use.run_id for use in read_model_use(tmp_path)] == ["run-1"]
    log.write()
    assert [use.run_id for use in read_model_use(tmp_path)] == ["run-1", "run-2"]


def test_the_audit_of_a_model_without_a_gpu_has_a_cost(tmp_path: Path) -> None:
    write(tmp_path, at_b=0.25, long=0.25, guessed=0.3)
    before = count(OutputReader(tmp_path)).audit
    ModelUseLog(tmp_path, "run-1", lambda: [replace(USE, gpus=0.0, price_gpu_hour=None)]).write()
    assert before.usd_per_record is not None
    assert count(OutputReader(tmp_path)).audit.usd_per_record == before.usd_per_record


def test_a_field_of_a_later_release_is_ignored(tmp_path: Path) -> None:
    ModelUseLog(tmp_path, "run-1", lambda: [USE]).write()
    content = json.loads((tmp_path / FILE).read_text())
    content["used"][0]["carbon"] = 3
    (tmp_path / FILE).write_text(json.dumps(content))
    assert read_model_use(tmp_path) == [replace(USE, run_id="run-1")]


def test_the_audit_adds_gpu_hours_to_the_cost_of_a_question(tmp_path: Path) -> None:
    write(tmp_path, at_b=0.25, long=0.25, guessed=0.3)
    before = count(OutputReader(tmp_path)).audit
    ModelUseLog(tmp_path, "run-1", lambda: [USE]).write()
    after = count(OutputReader(tmp_path)).audit
    assert before.usd_per_record is not None
    assert after.usd_per_record == pytest.approx(before.usd_per_record + 10.0 / after.records)
    shown = lvqa("audit", tmp_path)
    assert "served: m on vllm" in shown.stdout
    assert "4.00 GPU hours, $10.0000" in shown.stdout
    assert json.loads(lvqa("audit", tmp_path, "--json").stdout)[str(tmp_path)]["models"][0]["cost_usd"] == 10.0


def test_the_plan_takes_the_speed_of_the_runs_so_far(tmp_path: Path) -> None:
    """Three calls on a GPU that was up for half an hour: as many tokens again take half an hour."""
    out, film = tmp_path / "out", make_video(tmp_path / "film.mp4", seconds=3, scenes=(1.0, 2.0))
    checks = {name: {"policy": "off"} for name in ("blind", "solve", "prose")}
    rest = {"output": str(out), "ask": {"quota": {"goal": 1}}, "checks": checks, "split": {"max_seconds": 1}}

    def job_at(endpoint: dict[str, Any], videos: list[Path]) -> Path:
        job = {"videos": list(map(str, videos)), "endpoints": {"vlm": endpoint, "llm": endpoint}} | rest
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
        return tmp_path / "job.yaml"

    served = {"engine": "vllm", "model": MODEL, "replicas": 2, "gpus": 4, "price_gpu_hour": 2.5}
    before = cells(lvqa("estimate", job_at(served, [film])).stdout)
    assert before[f"served: {MODEL} on vllm"].startswith("8 GPUs at $2.50 per GPU and hour; hours are known after")
    assert before["estimated cost"].startswith("not known")
    with FakeEndpoint() as fake:
        done = lvqa("run", job_at({"base_url": fake.base_url, "model": MODEL}, [film]))
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "run.json").read_text())["summary"]
    used = replace(USE, label=f"{MODEL} on vllm", model=MODEL)
    ModelUseLog(out, summary["run_id"], lambda: [used]).write()
    paid = sum(stage["input_tokens"] + stage["output_tokens"] for stage in summary["spent"].values())
    plan = json.loads(lvqa("estimate", job_at(served, [film]), "--json").stdout)
    needed = sum(stage["input_tokens"] + stage["output_tokens"] for stage in plan["stages"].values())
    (model,) = plan["models"]
    assert needed > 0
    assert model["gpu_hours"] == pytest.approx(used.gpu_hours * needed / paid)
    assert plan["cost_usd"] == pytest.approx(2.5 * model["gpu_hours"])
