"""Every mistake in a job is one sentence that says what is wrong, where, and the mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from lvqa_ray import config
from lvqa_ray.config import Checks, Job
from lvqa_ray.errors import ConfigError

AT = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key_env": None}
GOOD: dict[str, Any] = {"videos": ["a.mp4"], "output": "out", "endpoints": {"vlm": AT, "llm": AT}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"splitt": {}}, "splitt is not a known setting"),
        ({"split": {"max_secs": 3}}, "split.max_secs is not a known setting"),
        ({"split": {"max_seconds": 0}}, "split.max_seconds: input should be greater than 0 (it is 0)"),
        ({"split": {"max_seconds": -1}}, "split.max_seconds: input should be greater than 0"),
        ({"split": {"max_seconds": float("inf")}}, "split.max_seconds: input should be a finite number"),
        ({"split": {"min_seconds": 20}}, "min_seconds (20) is larger than max_seconds (10)"),
        ({"split": {"mode": "cuts"}}, "split.mode: input should be 'fixed' or 'scenes'"),
        ({"caption": {"prompt": "Focus on {aspect}."}}, "placeholder {aspect}, which has no value"),
        ({"caption": {"prompt": "Say {it"}}, "for literal braces"),
        ({"ask": {"prompt": "Ask something."}}, "does not hold {captions}"),
        ({"caption": {"media": "video"}}, "set cut.mode to exact, encode or copy"),
        ({"videos": []}, "videos:"),
        ({"ask": {"quota": {}}}, "both ask.quota and analysis.tasks are empty, so there is nothing to do"),
        ({"ask": {"quota": {"goal": 0}}}, "both ask.quota and analysis.tasks are empty"),
        ({"analysis": {"tasks": ["poem"]}}, "analysis.tasks.0: input should be 'analysis', 'summary'"),
        ({"analysis": {"tasks": ["titles", "titles"]}}, "tasks: a task is listed twice"),
        ({"analysis": {"summary": {"prompt": "{video_analysis_text}"}}}, "does not hold {video_asr_text}"),
        ({"analysis": {"summary": {"prompt": "{video_asr_text}"}}}, "does not hold {video_analysis_text}"),
        ({"analysis": {"titles": {"prompt": "{video_asr_text}"}}}, "does not hold {summary}"),
        ({"analysis": {"snapshot_interval": 0.5}}, "analysis.snapshot_interval: input should be greater than or equal"),
        ({"analysis": {"snapshot_interval": 11}}, "analysis.snapshot_interval: input should be less than or equal"),
        ({"analysis": {"snapshot_interval": 2}, "sample": {"per_second": 1}}, "contradict each other: leave one out"),
        ({"cut": {"mode": "exact", "fps": 2}}, "fps needs every frame encoded anew: set mode to encode"),
        ({"cut": {"mode": "encode", "preset": "nope"}}, "cut.preset: input should be 'ultrafast'"),
        (
            {"cut": {"mode": "exact", "short_side": 360}},
            "short_side needs every frame encoded anew: set mode to encode",
        ),
        ({"cut": {"mode": "copy", "codec": "libx265"}}, "codec needs every frame encoded anew"),
        ({"engine": {"video_cpus": float("inf")}}, "engine.video_cpus: input should be a finite number"),
        ({"endpoints": {"vlm": {**AT, "extra_body": {"h": {"Authorization": "sk-hidden"}}}, "llm": AT}}, "like a key"),
        ({"endpoints": {"vlm": AT}}, "endpoints.llm is missing"),
        ({"endpoints": {"vlm": {**AT, "base_url": "localhost"}, "llm": AT}}, "base_url must be an http:// or https://"),
        ({"endpoints": {"vlm": {**AT, "api_key": "sk-hidden"}, "llm": AT}}, "environment variable"),
    ],
)
def test_a_wrong_job_is_one_clear_sentence(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Job.of(GOOD | change)
    sentence = str(caught.value)
    assert says in sentence
    assert "\n" not in sentence
    assert "sk-hidden" not in sentence


def test_a_prompt_with_its_own_placeholder_and_a_value_for_it_is_fine() -> None:
    job = Job.of(GOOD | {"caption": {"prompt": "Focus on {aspect}.", "values": {"aspect": "the {hat}"}}})
    assert job.caption.filled({}) == "Focus on the {hat}."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 2024-13-45", "is not valid YAML"),
        ("a: \x07", "is not valid YAML"),
        ("a: &a [*a]", "a value that is not valid as a setting"),
        ("videos: [a", "line 1 is not valid YAML"),
        ("- a\n- b\n", "is not a job: it must be a YAML mapping"),
        ("", "is not a job: it must be a YAML mapping"),
    ],
)
def test_a_file_that_is_no_job(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        Job.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Job.load(tmp_path / "none.yaml")


def test_what_people_write_by_hand_is_taken() -> None:
    job = Job.of(GOOD | {"videos": "a.mp4", "split": None, "limit": None, "cut": {"mode": False}})
    assert job.videos == ("a.mp4",)
    assert job.job_hash == Job.of(GOOD).job_hash


def test_the_output_is_one_place_for_driver_and_workers() -> None:
    assert Job.of(GOOD).output == str(Path("out").absolute())
    assert Job.of(GOOD | {"output": "~/out"}).output == str(Path.home() / "out")
    assert Job.of(GOOD | {"output": "s3://bucket/out/"}).output == "s3://bucket/out"
    for output in ("s3://", "https://host/out"):
        with pytest.raises(ConfigError, match="is not writable: give a local folder, or a bucket"):
            Job.of(GOOD | {"output": output})
    with pytest.raises(ConfigError, match="no name or password"):
        Job.of(GOOD | {"storage": {"endpoint_url": "http://me:secret@host"}})


def test_overrides_reach_into_sections() -> None:
    job = Job.of(GOOD, ["split.max_seconds=2.5", "split.mode=scenes", "endpoints.vlm.max_concurrency=3", "limit=4"])
    assert (job.split.max_seconds, job.split.mode) == (2.5, "scenes")
    assert (job.endpoints.of("vlm").max_concurrency, job.limit) == (3, 4)


@pytest.mark.parametrize(
    ("override", "says"), [("split", "section.key=value"), ("split.x=1", "split.x"), ("output.x=1", "not a section")]
)
def test_a_wrong_override(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Job.of(GOOD, [override])


SAME = [{"output": "b"}, {"videos": ["b.mp4"]}, {"limit": 2}, {"engine": {"chat_workers": 3}}]
SAME += [{"endpoints": {"vlm": {**AT, "timeout_s": 5, "max_concurrency": 2, "price_in": 1}, "llm": AT}}]
OTHER = [{"split": {"max_seconds": 5}}, {"ask": {"temperature": 0.5}}, {"reformat": {"system": "Be brief."}}]
OTHER += [
    {"endpoints": {"vlm": {**AT, "model": "n"}, "llm": AT}},
    {"endpoints": {"vlm": AT, "llm": AT, "reformat": None}},
]


@pytest.mark.parametrize("change", SAME)
def test_what_changes_no_answer_changes_no_hash(change: dict[str, Any]) -> None:
    assert Job.of(GOOD | change).job_hash == Job.of(GOOD).job_hash


def test_analysis_that_is_off_changes_no_hash_and_its_interval_is_the_rate_of_pictures() -> None:
    off = Job.of(GOOD | {"analysis": {"language": "German"}})
    assert (off.job_hash, off.part_hashes) == (Job.of(GOOD).job_hash, Job.of(GOOD).part_hashes)
    every_2 = Job.of(GOOD | {"analysis": {"snapshot_interval": 2}})
    assert every_2.sample.per_second == 0.5
    assert every_2.job_hash == Job.of(GOOD | {"sample": {"per_second": 0.5}}).job_hash
    assert Job.of(json.loads(every_2.model_dump_json())) == every_2
    on = Job.of(GOOD | {"analysis": {"tasks": ["mind_map"]}})
    assert on.job_hash != off.job_hash
    assert on.analysis.wanted == ("summary", "mind_map")


@pytest.mark.parametrize("change", OTHER[:-1])
def test_what_changes_an_answer_changes_the_hash(change: dict[str, Any]) -> None:
    assert Job.of(GOOD | change).job_hash != Job.of(GOOD).job_hash


def test_every_setting_is_documented() -> None:
    def walk(schema: dict[str, Any], where: str) -> None:
        for name, field in schema.get("properties", {}).items():
            assert field.get("description") or "$ref" in field, f"{where}.{name} has no description"

    schema = Job.model_json_schema()
    walk(schema, "Job")
    for name, part in schema["$defs"].items():
        walk(part, name)
    json.dumps(schema)


@pytest.mark.parametrize("path", sorted(Path("jobs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_jobs_that_ship_are_jobs(path: Path) -> None:
    Job.load(path)


def test_the_full_job_spells_out_the_defaults() -> None:
    """Whoever copies it gets what the defaults give, so its comments cannot drift from the code."""
    given = yaml.safe_load(Path("jobs/full.yaml").read_text())
    job = Job.load("jobs/full.yaml")
    bare = Job.of({key: given[key] for key in ("videos", "output", "endpoints")})
    assert job.job_hash == bare.job_hash
    assert job.engine == bare.engine
    sections = set(Job.model_fields) - {"limit"}
    assert sections <= set(given)


def test_several_endpoints_for_a_role() -> None:
    """The first names the answers: adding another changes no hash, and so asks nothing again."""
    other = AT | {"base_url": "http://127.0.0.1:10/v1", "max_concurrency": 4, "api_key_env": "OTHER"}
    one, two = Job.of(GOOD), Job.of(GOOD | {"endpoints": {"vlm": [AT, other], "llm": AT}})
    assert [at.base_url for at in two.endpoints.endpoints_of("vlm")] == [AT["base_url"], other["base_url"]]
    assert two.endpoints.of("vlm") == one.endpoints.of("vlm")
    assert two.job_hash == one.job_hash
    assert Job.of(json.loads(two.model_dump_json())) == two


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "endpoints.vlm: "),
        ([AT, AT | {"model": "another"}], "endpoints of vlm must answer alike"),
        ([AT, AT | {"temperature": 0.5}], "endpoints of vlm must answer alike"),
        ([AT, {"model": "m"}], "endpoints.vlm.1.base_url is missing"),
    ],
)
def test_several_endpoints_that_cannot_be(given: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Job.of(GOOD | {"endpoints": {"vlm": given, "llm": AT}})


def test_the_word_off_need_not_be_quoted() -> None:
    names = ("structure", "blind", "solve", "judge", "evidence", "prose")
    off = Checks(**yaml.safe_load("\n".join(f"{name}: {{policy: off}}" for name in names)))
    assert {getattr(off, name).policy for name in names} == {"off"}
    with pytest.raises(ValidationError):
        Checks(blind={"policy": True})


@pytest.mark.parametrize("name", config.__all__)
def test_a_public_name_is_imported_when_it_is_used(name: str) -> None:
    assert getattr(config, name).__name__ == name
