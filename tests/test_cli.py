"""The command as its user types it: exit statuses, one sentence for a mistake, data on stdout and talk on stderr."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from lvqa_ray.rewards import reward
from tests import media
from tests.command import cells, lvqa
from tests.conftest import MODEL
from tests.fakes.endpoint import FakeEndpoint

KEY = "sk-planted-0123456789abcdef"
LVQA = [sys.executable, "-c", "from lvqa_ray.cli import main; main()"]


def typed(*args: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as its user starts it."""
    env = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    words = [*LVQA, *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, env=env | environment, check=False)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.make_video(tmp_path_factory.mktemp("film") / "a film, ünnamed.mp4", seconds=3, scenes=(1.0, 2.0))


ONE = [
    "--set",
    "ask.quota={goal: 1}",
    "--set",
    "checks={blind: {policy: off}, solve: {policy: off}, prose: {policy: off}}",
]


def direct(fake: FakeEndpoint, out: Path, *more: Any) -> list[Any]:
    """Options of a run without a job file."""
    models = ["--base-url", fake.base_url, "--vlm-model", MODEL, "--llm-model", MODEL]
    return [
        "--out",
        out,
        *models,
        "--no-report",
        "--set",
        "split.max_seconds=1",
        "--set",
        "engine.num_cpus=2",
        *ONE,
        *more,
    ]


def test_version_and_schema() -> None:
    assert lvqa("--version").stdout.startswith("lvqa-ray 0.")
    schema = json.loads(typed("schema").stdout)
    assert schema["properties"]["videos"]["description"]
    assert schema["additionalProperties"] is False
    assert "complete" in typed("--show-completion", "bash").stdout
    wrong = typed("run", "none.yaml")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)


def test_ctrl_c_while_it_is_still_starting_leaves_no_traceback() -> None:
    """Which takes a second: python tells what it imports, and the signal comes in the midst of it."""
    # What is started in the background of a shell, as tests may be, does not hear of Ctrl-C.
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    words = [sys.executable, "-X", "importtime", "-c", hears + LVQA[-1], "plan", "none.yaml"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        assert any("lvqa_ray.cli.display.terminal" in line for line in started.stderr)
        started.send_signal(signal.SIGINT)
        rest = started.stderr.read()
    assert (started.returncode, "Traceback" in rest) == (130, False)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run", "x.mp4"], "--out, --base-url, --vlm-model, --llm-model must be given"),
        (["run", "none.yaml"], "none.yaml cannot be read"),
        (["run", "none.yaml", "x.mp4"], "give it alone"),
        (["run", "none.yaml", "--vlm-model", "m"], "--vlm-model cannot be combined with a job file"),
        (["run", "x.mp4", "--unknown"], "No such option"),
        (["export", ".", "--to", "x.json"], "holds no output"),
        (["export", ".", "--to", "x.json", "--format", "xml"], "unknown format: xml"),
        (["demo", "--film", "none.mp4"], "none.mp4 does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = lvqa(*args)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def job_file(folder: Path, fake: FakeEndpoint, film: Path, **endpoint: Any) -> Path:
    at = {"base_url": fake.base_url, "model": MODEL} | endpoint
    path = folder / "job.yaml"
    job = {"videos": [str(film)], "output": str(folder / "out"), "endpoints": {"vlm": at, "llm": at}}
    path.write_text(yaml.safe_dump(job | {"engine": {"num_cpus": 2}}))
    return path


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ({"base_url": "http://127.0.0.1:9/v1"}, "connect"),
        ({"base_url": "http://192.0.2.1/v1", "api_key_env": "NO_SUCH_API_KEY"}, "NO_SUCH_API_KEY is not set"),
        ({"model": "other"}, "has no model other; it offers fake-vlm"),
    ],
)
def test_an_endpoint_that_will_not_do_is_said_before_anything_is_paid(
    tmp_path: Path, film: Path, endpoint: dict[str, Any], says: str
) -> None:
    with FakeEndpoint(models=(MODEL,)) as fake:
        done = lvqa("run", job_file(tmp_path, fake, film, **endpoint))
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not fake.paid


def test_a_model_that_is_not_listed_is_a_warning_of_a_dry_run(tmp_path: Path, film: Path) -> None:
    with FakeEndpoint(models=("llava:latest",)) as fake:
        done = lvqa("plan", job_file(tmp_path, fake, film, model="llava"), OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("warning: llava at 127.0.0.1:")
    assert "it offers llava:latest" in done.stderr
    assert fake.requests == []


def test_variables_that_cannot_be_used_are_named_before_anything_is_done(tmp_path: Path, film: Path) -> None:
    with FakeEndpoint() as fake:
        job = job_file(tmp_path, fake, film, base_url="http://models.example.invalid/v1")
        for name, value in {"ALL_PROXY": "socks://u:hunter2@127.0.0.1:1/", "SSL_CERT_FILE": "/nonexistent.pem"}.items():
            done = lvqa("run", job, OPENAI_API_KEY=KEY, **{name: value})
            assert done.returncode == 2
            assert f"variable {name} names" in done.stderr
            assert "hunter2" not in done.stderr
            assert "Traceback" not in done.stderr


def test_a_wrong_key_is_said_and_never_shown(tmp_path: Path, film: Path) -> None:
    with FakeEndpoint(api_key="another") as fake:
        done = lvqa("run", job_file(tmp_path, fake, film), OPENAI_API_KEY=KEY)
    assert done.returncode == 2
    assert "401" in done.stderr
    assert KEY not in done.stderr + done.stdout


def test_an_estimate_needs_no_key_and_asks_nobody(tmp_path: Path, film: Path) -> None:
    at = {"base_url": "http://192.0.2.1/v1", "api_key_env": "NO_SUCH_API_KEY", "price_in": 10, "price_out": 10}
    with FakeEndpoint() as fake:
        done = lvqa("estimate", job_file(tmp_path, fake, film, **at), "--set", "split.max_seconds=1")
    assert done.returncode == 0, done.stderr
    rows = cells(done.stdout)
    assert (rows["clips"], rows["frames"]) == ("3", "24")
    assert float(rows["estimated cost"].removeprefix("$")) > 0.01
    assert rows["endpoint time"].endswith("minutes at its rate limits")
    assert "An estimate" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_plan_counts_and_calls_nothing(tmp_path: Path, film: Path) -> None:
    """`run --dry-run`, which it replaces, takes the same arguments, prints the same, and says what to use."""
    with FakeEndpoint() as fake:
        same = [given for given in direct(fake, tmp_path / "out") if given != "--no-report"]
        done = lvqa("plan", film, *same)
        before = lvqa("run", film, *direct(fake, tmp_path / "out", "--dry-run"))
    assert (done.returncode, before.returncode) == (0, 0)
    assert before.stdout == done.stdout
    assert before.stderr.splitlines() == [
        "lvqa run --dry-run is deprecated: use lvqa plan.",
        *done.stderr.splitlines(),
    ]
    rows = cells(done.stdout)
    assert {name: rows[name] for name in list(rows)[:6]} == {
        "videos": "1",
        "already done": "0",
        "to do: new": "1",
        "unusable videos": "0",
        "hours of video": "0.00",
        "clips": "3",
    }
    calls = {stage: rows[f"calls: {stage}"] for stage in ("caption", "ask", "reformat")}
    assert calls == {"caption": "3", "ask": "1", "reformat": "1"}
    assert rows["frames"] == "24"
    assert rows["estimated cost"].startswith("not known")
    assert fake.requests == []
    assert not (tmp_path / "out").exists()


def test_the_demo_on_a_film_of_ones_own(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = typed(
        *("demo", "--film", media.bikes(), "--out", out, "--set", "split.max_seconds=2", "--set", "engine.num_cpus=2"),
        *("--set", "checks.judge.policy=drop", "--set", "checks.evidence.policy=drop"),
    )
    assert done.returncode == 0, done.stderr
    assert "not a vision model" in " ".join(done.stderr.split())
    records = pq.read_table(out / "data").to_pylist()
    assert 1 <= len(records) <= 8
    assert {record["video_id"] for record in records} == {"bikes"}
    for record in records:
        assert record["num_clips"] == 5
        assert record["kind"] != "choice" or record["parsed_reasoning"]["ANSWER"] in "ABCD"
        assert reward(f"<answer>{record['parsed_reasoning']['ANSWER']}</answer>", record) == 1.0
        assert record["reformatted_reasoning"]
        assert {one["check"] for one in record["checks"] if one["calls"]} >= {"blind", "solve", "judge", "evidence"}


@pytest.mark.parametrize(("word", "said"), [("--help", "Turn long videos into"), ("--version", "lvqa-ray ")])
def test_help_and_the_version_load_none_of_the_large_libraries(word: str, said: str) -> None:
    large = {
        "aiohttp",
        "av",
        "cv2",
        "fsspec",
        "httpx2",
        "numpy",
        "openai",
        "pyarrow",
        "ray",
        "s3fs",
        "yaml",
    }
    report = f"import atexit, sys; atexit.register(lambda: print(*({large} & set(sys.modules)), file=sys.stderr))"
    words = [sys.executable, "-c", f"{report}; from lvqa_ray.cli import main; main()", word]
    printed = subprocess.run(words, capture_output=True, text=True, check=True)
    assert said in printed.stdout
    assert printed.stderr.split() == []
