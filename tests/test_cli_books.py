"""``lvqa failures``, ``verify``, ``plan`` and ``--fresh``, on outputs that are written down for it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from lvqa_ray.cli.arguments import named
from lvqa_ray.cli.commands import app
from lvqa_ray.cli.display.summaries import print_questions
from lvqa_ray.config import Job
from lvqa_ray.dataset.run_state import write_run
from lvqa_ray.errors import ConfigError
from tests.conftest import MODEL
from tests.dataset.test_resume import line, put
from tests.dataset.test_verify import whole
from tests.fakes.endpoint import FakeEndpoint


def lvqa(*args: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(arg) for arg in args])


def test_a_preview_of_which_nothing_stands_says_where_to_look(tmp_path: Path, capsys: Any) -> None:
    put(
        tmp_path,
        "failures",
        "a",
        line("v", 0, kind="no_question_left", stage="blind", attempts=4, message="None is left."),
    )
    print_questions(tmp_path, str(tmp_path))
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"No question stands about these videos: lvqa failures {tmp_path} says why.\n")


def test_verify_is_one_line_and_a_status(tmp_path: Path) -> None:
    whole(tmp_path)
    good = lvqa("verify", tmp_path)
    assert (good.exit_code, good.stdout.count("\n")) == (0, 1)
    assert good.stdout.startswith("Verified: 2 with records + 1 failed = 3 of 3 videos")
    put(tmp_path, "data", "twice", line("v", 0, num_clips=2, gaps=[]))
    bad = lvqa("verify", tmp_path, "--json")
    assert bad.exit_code == 1
    said = json.loads(bad.stdout)
    assert (said["ok"], said["records"], len(said["problems"])) == (False, 2, 1)
    assert lvqa("verify", tmp_path / "none").exit_code == 2


def test_failures_by_kind_and_one_by_one(tmp_path: Path) -> None:
    whole(tmp_path)
    put(tmp_path, "failures", "b", line("u", 0, kind="refused", stage="ask", attempts=1, message="I [can] not."))
    summed = json.loads(lvqa("failures", tmp_path, "--json").stdout)
    assert [(row["kind"], row["count"], row["retryable"], row["example"]) for row in summed] == [
        ("empty_file", 1, 0, "x"),
        ("refused", 1, 0, "u"),
    ]
    assert "lvqa retry --kind refused" in summed[1]["mend"]
    printed = lvqa("failures", tmp_path).stdout
    assert all(text in printed for text in ("empty_file", "replace the file", "is empty.", "I [can] not."))
    (row,) = json.loads(lvqa("failures", tmp_path, "--kind", "refused", "--json").stdout)
    assert (row["id"], row["stage"], row["message"]) == ("u", "ask", "I [can] not.")
    assert "empty_file" not in lvqa("failures", tmp_path, "--kind", "refused").stdout
    none = lvqa("failures", tmp_path, "--kind", "no_room")
    assert (none.exit_code, none.stderr.strip()) == (0, "No video failed so.")
    wrong = lvqa("failures", tmp_path, "--kind", "refsued")
    assert wrong.exit_code == 2
    assert "there is no kind of failure refsued; there is missing_file, " in wrong.stderr


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    """A job about three files that are no videos."""
    for name in ("v", "w", "x"):
        (tmp_path / f"{name}.mp4").write_text("This is no video.")
    at = {"base_url": "http://127.0.0.1:9/v1", "model": MODEL, "api_key_env": None}
    path = tmp_path / "job.yaml"
    videos = [str(tmp_path / f"{name}.mp4") for name in "vwx"]
    path.write_text(
        yaml.safe_dump(
            {"videos": videos, "output": str(tmp_path / "out"), "endpoints": dict.fromkeys(("vlm", "llm"), at)}
        )
    )
    return path


def test_a_job_file_stands_for_its_output(tmp_path: Path, job_file: Path) -> None:
    whole(tmp_path / "out")
    by_job, by_folder = lvqa("verify", job_file), lvqa("verify", tmp_path / "out")
    assert (by_job.exit_code, by_job.stdout) == (0, by_folder.stdout)
    assert named(Job.load(job_file), job_file) == str(tmp_path / "out")
    there = {"output": "s3://bucket/out", "storage": {"endpoint_url": "http://127.0.0.1:9"}}
    job_file.write_text(yaml.safe_dump(yaml.safe_load(job_file.read_text()) | there))
    assert named(Job.load(job_file), job_file) == str(job_file), "which says how the bucket is reached"
    assert named(Job.load(job_file, ["output=s3://bucket/other"]), job_file) == "s3://bucket/other"


def test_a_plan_says_what_would_be_done_again_and_why(tmp_path: Path, job_file: Path) -> None:
    from lvqa_ray.corpus.manifest import read_manifest

    earlier = Job.load(job_file, ["ask.system=Be kind.", "caption.system=Be brief."])
    (tmp_path / "out").mkdir()
    write_run(tmp_path / "out", earlier, None)
    one, two, _ = read_manifest(earlier.videos)
    made = {"job_hash": earlier.job_hash}
    put(tmp_path / "out", "data", "a", line("v", 0, **made, fingerprint=one.fingerprint))
    put(tmp_path / "out", "data", "b", line("w", 0, job_hash="of old", fingerprint=two.fingerprint))
    printed = lvqa("estimate", job_file)
    rows = {
        name.strip(): value.strip()
        for name, value in (row.strip("│ ").split("│") for row in printed.stdout.splitlines() if "│" in row)
    }
    assert rows["to do: settings changed: caption, ask"] == "1"
    assert (rows["to do: settings changed"], rows["to do: new"], rows["unusable"]) == ("1", "1", "3")
    with FakeEndpoint() as fake:
        asked = ["--set", f"endpoints.vlm.base_url={fake.base_url}", "--set", f"endpoints.llm.base_url={fake.base_url}"]
        planned = lvqa("plan", job_file, *asked)
        assert (planned.exit_code, fake.requests) == (0, [])
        assert planned.stdout == lvqa("run", job_file, "--dry-run", *asked).stdout
        assert re.search(
            "settings changed: caption,.* ask,.* checks", planned.stdout
        )  # who is asked is a setting of each


def test_a_job_that_is_done_needs_no_endpoint(tmp_path: Path, job_file: Path) -> None:
    from lvqa_ray.corpus.manifest import read_manifest

    job = Job.load(job_file)
    assert isinstance(lvqa("plan", job_file).exception, ConfigError), "the endpoint is down"
    fault = {"stage": "probe", "kind": "not_a_video", "retryable": False, "job_hash": job.job_hash}
    rows = [line(video.id, 0, fingerprint=video.fingerprint, **fault) for video in read_manifest(job.videos)]
    put(tmp_path / "out", "failures", "a", *rows)
    planned = lvqa("plan", job_file)
    assert (planned.exit_code, "already done" in planned.stdout) == (0, True), planned.output
    done = lvqa("run", job_file)
    assert (done.exit_code, done.stderr.count("Verified: 0 with records + 3 failed")) == (0, 1), done.output


def test_fresh_starts_in_a_folder_that_holds_nothing(tmp_path: Path, job_file: Path) -> None:
    with FakeEndpoint() as fake:
        asked = ["--set", f"endpoints.vlm.base_url={fake.base_url}", "--set", f"endpoints.llm.base_url={fake.base_url}"]

        def told() -> str:
            result = lvqa("run", job_file, "--fresh", "--dry-run", *asked)
            assert result.exit_code == 0, result.output
            return result.stderr.partition("An estimate")[0]

        assert told() == ""
        (tmp_path / "out").mkdir()
        assert told() == ""
        (tmp_path / "out" / "run.json").write_text("{}")
        (tmp_path / "out-2").write_text("a file")
        assert told().startswith(f"Starting over in {tmp_path}/out-3; {tmp_path}/out stays as it is")
        assert not (tmp_path / "out-3").exists()


def test_commands_that_read_speak_json_too(tmp_path: Path, job_file: Path) -> None:
    planned = json.loads(lvqa("estimate", job_file, "--json").stdout)
    assert (planned["videos"], planned["unusable"], planned["cost_usd"]) == (3, 3, None)
    (tmp_path / "out" / "cache").mkdir(parents=True)
    counted = json.loads(lvqa("cache", "stats", tmp_path / "out", "--json").stdout)
    assert (counted["answers"], counted["spent"]) == (0, {})
