"""The package of `docs/writing-a-stage.md`, built as it stands there: planned, estimated, run and exported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvqa_ray import plugins
from lvqa_ray.config import Job
from lvqa_ray.engine.preflight.estimate import estimate
from lvqa_ray.errors import ConfigError
from lvqa_ray.pipeline import FrameScoring, build
from tests import media
from tests.blocks import ROOT
from tests.command import lvqa
from tests.conftest import MODEL, tables
from tests.engine.test_estimate import LOAD
from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint

LVQA = [sys.executable, "-c", "from lvqa_ray.cli import main; main()"]
AT = {"base_url": "http://127.0.0.1:9/v1", "model": MODEL, "api_key_env": None}
PLAIN: dict[str, Any] = {"videos": ["a.mp4"], "output": "out", "endpoints": {"vlm": AT, "llm": AT}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of the page, as a wheel installs it."""
    page = (ROOT / "docs" / "writing-a-stage.md").read_text(encoding="utf-8")
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    files = re.findall(r'```\w+ title="(.*?)"\n(.*?)```', page, re.DOTALL)
    assert len(files) == page.count("```") / 2 == 4, "every block of the page is a file of the package"
    for name, text in [*files, ("lvqa_interest/__init__.py", "")]:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(source / "dist")]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    return site


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))


def run_with(site: Path, *words: Any) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    paths = [str(site), env.get("PYTHONPATH", "")]
    env |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"}
    return subprocess.run([*LVQA, *map(str, words)], capture_output=True, text=True, env=env, check=False, timeout=240)


def test_the_package_of_the_page_is_planned_estimated_run_and_exported(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(sys.path)
    monkeypatch.syspath_prepend(str(site))
    film, out, job_file = tmp_path / "film.mp4", tmp_path / "out", tmp_path / "job.yaml"
    media.make_video(film, seconds=6, scenes=(2.0, 4.0))
    scores = iter(["SCORE: 0.9", "SCORE: 0.2"] * 20)

    def answer(body: dict[str, Any]) -> str | None:
        return next(scores) if "How much does this question matter" in text_of(body) else None

    with FakeEndpoint(answer=answer) as fake:
        at = {**AT, "base_url": fake.base_url, "price_in": 1, "price_out": 1}
        off = {name: {"policy": "off"} for name in ("blind", "solve", "prose")}
        job = {
            "videos": str(film),
            "output": str(out),
            "endpoints": {"vlm": at, "llm": at},
            "split": {"mode": "scenes", "max_seconds": 4, "detector": "brightness", "detector_args": {"jump": 3}},
            "ask": {"quota": {"goal": 4}},
            "checks": {**off, "interest": {"least": 0.7}},
            "engine": {"num_cpus": 2, "executor": "ray"},  # whose workers must find the package too
        }
        job_file.write_text(yaml.safe_dump(job))
        plan = lvqa("plan", job_file)
        assert plan.returncode == 0, plan.stderr
        said = lvqa("estimate", job_file)
        assert said.returncode == 0, said.stderr
        assert re.search(r"interest\D+4\b", said.stdout), said.stdout
        assert fake.paid.total() == 0

        run = run_with(site, "run", job_file)
        assert run.returncode == 0, run.stderr

    made = tables(str(out))
    kept, dropped = made["data"], [drop for drop in made["drops"] if drop["kind"] == "interest"]
    asked = sum("How much does this question matter" in text_of(each.body) for each in fake.requests)
    assert asked == len(kept) + len(dropped) == 4
    assert len(dropped) == 2
    assert all(drop["reason"] == "the question scores 0.2, and 0.7 is needed" for drop in dropped)
    verdicts = [verdict for row in kept for verdict in row["checks"] if verdict["check"] == "interest"]
    assert [(verdict["passed"], round(verdict["score"], 3)) for verdict in verdicts] == [(True, 0.9)] * 2
    assert all(json.loads(row["prompts"])["interest"] == "interest/1" for row in kept)
    starts = sorted(row["timestamp_start"] for row in made["clips"])
    assert starts == pytest.approx([0, 2, 4], abs=0.05), "the detector of the package finds the cuts"

    audit = lvqa("audit", out)
    assert "interest" in audit.stdout, audit.stdout
    report = lvqa("report", out, "--seconds", 0, "--to", tmp_path / "report.html")
    assert report.returncode == 0, report.stderr
    assert "dropped by interest" in (tmp_path / "report.html").read_text(encoding="utf-8")
    exported = lvqa("export", out, "--format", "plain-qa", "--to", tmp_path / "qa.jsonl")
    assert exported.returncode == 0, exported.stderr
    lines = [json.loads(line) for line in (tmp_path / "qa.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{"question", "answer"}] * 2

    monkeypatch.setattr(sys, "path", before)
    gone = lvqa("run", job_file)
    assert gone.returncode == 2
    assert "there is no detector brightness; there is content" in gone.stderr
    assert "Traceback" not in gone.stderr
    unknown = lvqa("export", out, "--format", "plain-qa")
    assert unknown.returncode == 2
    assert "unknown format: plain-qa. Known formats: dataflow-json" in unknown.stderr


@pytest.mark.usefixtures("installed")
def test_a_check_of_a_package_is_a_check_like_any_other() -> None:
    plain = Job.of(PLAIN)
    job = Job.of(PLAIN | {"checks": {"interest": {"policy": "mark"}}})
    assert [check.name for check in job.checks.calling] == ["blind", "solve", "interest"]
    assert "interest" in [stage.name for stage in job.asking]
    assert "interest" not in [stage.name for stage in plain.asking], "it runs where a job names it, and nowhere else"
    other = Job.of(PLAIN, ["checks.interest.least=0.9"])
    assert len({plain.job_hash, job.job_hash, other.job_hash}) == 3
    assert Counter(job.part_hashes.items()) - Counter(plain.part_hashes.items()) == {
        ("checks", job.part_hashes["checks"]): 1
    }
    again = Job.of(job.model_dump(mode="json"))
    assert again.job_hash == job.job_hash
    assert Job.of(PLAIN | {"checks": {"interest": None}}).checks.calling[-1].policy == "drop"
    assert Job.of(PLAIN | {"checks": {"interest": {"policy": False}}}).checks.calling[-1].name == "solve"
    schema = Job.model_json_schema()
    assert "least" in schema["$defs"]["Checks"]["properties"]["interest"]["properties"]
    assert schema["$defs"]["Checks"]["additionalProperties"] is False
    stages = estimate(job, [LOAD])
    questions = len(job.ask.plan(600))
    assert (stages["interest"].calls, stages["interest"].output_tokens) == (questions, 40 * questions)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("checks", "says"),
    [
        ({"interest": {"most": 3}}, "checks.interest.most is not a known setting"),
        ({"interest": {"least": 3}}, "checks.interest.least: input should be less than or equal to 1 (it is 3)"),
        ({"interest": {"prompt": "Score it."}}, "does not hold {question}"),
        ({"intrest": {}}, "checks: there is no check intrest: built in are structure, grounding"),
        ({"intrest": {}}, "installed packages register interest"),
    ],
)
def test_a_wrong_setting_of_a_package_is_one_sentence(checks: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Job.of(PLAIN | {"checks": checks})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


BROKEN = """
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from lvqa_ray.stage import CallCheck, Check

@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Silent(CallCheck):
    name = "silent"

@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Caption(CallCheck):
    name, role, version, usual_reply_tokens = "caption", "checker", "caption/9", 5

class Nothing:
    pass
"""


@pytest.mark.parametrize(
    ("name", "target", "says"),
    [
        (
            "gone",
            "no_such_module:x",
            "gone of the package theirs cannot be imported (no_such_module:x): ModuleNotFound",
        ),
        ("other", "their_checks:Silent", "must have the name under which it is registered, but its name is silent"),
        ("silent", "their_checks:Silent", "does not declare role, version, usual_reply_tokens"),
        ("nothing", "their_checks:Nothing", "is not a dataclass that derives from Check or CallCheck"),
        ("caption", "their_checks:Caption", "checks: caption is the name of another stage"),
    ],
)
def test_a_broken_check_is_one_sentence_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, target: str, says: str
) -> None:
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[lvqa_ray.checks]\n{name} = {target}\n")
    (tmp_path / "their_checks.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_checks", raising=False)
    with pytest.raises(ConfigError) as caught:
        Job.of(PLAIN | {"checks": {name: {}}})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


SECOND_LOOK = """
from typing import ClassVar
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from lvqa_ray.stages.checks.evidence import CheckEvidence

@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SecondLook(CheckEvidence):
    name: ClassVar[str] = "second_look"
    version: ClassVar[str] = "second_look/1"
"""


def test_two_checks_that_see_frames_both_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "looks-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: looks\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lvqa_ray.checks]\nsecond_look = second_look:SecondLook\n")
    (tmp_path / "second_look.py").write_text(SECOND_LOOK)
    monkeypatch.syspath_prepend(str(tmp_path))
    job = Job.of(PLAIN | {"checks": {"evidence": {"policy": "mark"}, "second_look": {"policy": "mark"}}})
    groups = build(job).ask
    decoded = [group.steps[0].name for group in groups if isinstance(group, FrameScoring)]
    asked = [step.name for group in groups if not isinstance(group, FrameScoring) for step in group]
    assert decoded == ["evidence", "second_look"]
    assert asked[-3:] == ["evidence", "second_look", "reformat"]
    assert asked.count("ask") == 1


def test_every_stage_that_asks_declares_how_long_replies_are() -> None:
    job = Job.of(
        PLAIN
        | {
            "analysis": {"tasks": ["mind_map", "titles"]},
            "checks": {"blind": {"policy": "repair"}, "judge": {"policy": "drop"}, "evidence": {"policy": "mark"}},
        }
    )
    names = {stage.name: type(stage).usual_reply_tokens for stage in job.asking}
    assert set(names) == {
        *("caption", "ask", "blind", "solve", "judge", "evidence", "rewrite", "reformat", "prose"),
        *("summary", "titles", "mind_map", "summarize"),
    }
    assert all(tokens > 0 for tokens in names.values())


def test_a_process_knows_whether_code_of_users_may_run_in_it(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not plugins.is_any_installed()
    monkeypatch.syspath_prepend(str(site))
    assert plugins.is_any_installed()
