"""Which settings of a job change what is asked, and which find the answers that are paid for."""

from __future__ import annotations

import asyncio
import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from lvqa_ray.config import Job
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Text
from lvqa_ray.records import (
    CaptionedClip,
    CaptionedVideo,
    Clip,
    FinishedVideo,
    Frame,
    ProbedVideo,
    QuestionedVideo,
    Usage,
    Video,
    VideoInfo,
)
from tests.fakes import answers

VIDEO = Video(id="v", uri="/v.mp4", fingerprint="f1")
INFO = VideoInfo(num_frames=750, height=720, width=1280, fps=25, duration_sec=30)
ENDPOINT = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
JOB: dict[str, Any] = {"videos": "v.mp4", "output": "out", "endpoints": {"vlm": ENDPOINT, "llm": ENDPOINT}}
KIND = "1. goal: "
ALL = {"caption", "ask", "reformat"}


def keys(job: Job, video: Video = VIDEO) -> dict[str, list[str]]:
    """The keys of all that a job asks about a video of 30 s, by stage; the model says the same whatever it is asked."""
    found: dict[str, list[str]] = {"caption": [], "ask": [], "reformat": []}

    async def chat(request: ChatRequest) -> ChatReply:
        stage = getattr(job, request.stage)
        found[request.stage].append(cache_key(job.endpoints.of(stage.role), request))
        text = "A street."
        if request.stage == "ask":
            said = "".join(part.text for part in request.messages[-1].parts if isinstance(part, Text))
            count, as_schema = re.search(r"Write (\d) hard", said), request.reply_schema is not None
            one = answers.question(KIND)
            one = answers.as_json(one) if as_schema else one
            text = answers.questions(KIND, int(count[1]), as_schema=as_schema) if count else one
        return ChatReply(text=text, model="m", usage=Usage())

    async def ask() -> None:
        captioned: list[CaptionedClip] = []
        for clip in job.split(ProbedVideo(video=video, info=INFO)):
            assert isinstance(clip, Clip)
            frames = tuple(Frame(time_s=float(n), jpeg=b"") for n in range(job.sample.count))
            shown = Clip(**{name: getattr(clip, name) for name in Clip.__slots__} | {
                "frames": frames, "identity": job.sample.identity(clip)
            })  # fmt: skip
            captioned += await job.caption(shown, chat)
        (film,) = job.merge(captioned)
        assert isinstance(film, CaptionedVideo)
        (asked,) = await job.ask(film, chat)
        assert isinstance(asked, QuestionedVideo)
        (finished,) = await job.reformat(asked, chat)
        assert isinstance(finished, FinishedVideo)

    asyncio.run(ask())
    return found


HITS: dict[str, Any] = {
    "videos": "elsewhere/v.mp4",
    "output": "elsewhere",
    "limit": 1,
    "endpoints.vlm.api_key_env": "ANOTHER",
    "endpoints.vlm.max_concurrency": 99,
    "endpoints.vlm.timeout_s": 9,
    "endpoints.vlm.max_attempts": 1,
    "endpoints.vlm.backoff_base_s": 9,
    "endpoints.vlm.backoff_cap_s": 9,
    "endpoints.vlm.requests_per_minute": 5,
    "endpoints.vlm.tokens_per_minute": 5,
    "endpoints.vlm.input_tokens_per_minute": 5,
    "endpoints.vlm.output_tokens_per_minute": 5,
    "endpoints.vlm.requests_per_day": 5,
    "endpoints.vlm.max_outage_s": 5,
    "endpoints.vlm.stream": True,
    "endpoints.vlm.max_rejections": 2,
    "endpoints.vlm.price_in": 1,
    "endpoints.vlm.price_out": 1,
    "endpoints.vlm.price_minute": 1,
    "endpoints.vlm.price_cached": 1,
    "endpoints.vlm.price_cache_write": 1,
    "endpoints.vlm.leader_first": True,
    "endpoints.vlm.prompt_cache_key": True,
    "endpoints.vlm.tier": "flex",
    "endpoints.vlm.fallback_after_min": 5,
    "endpoints.vlm.batch_hours": 48,
    "endpoints.vlm.batch_requests": 5,
    "endpoints.vlm.batch_mb": 5,
    "endpoints.vlm.batch_wait_s": 5,
    "endpoints.vlm.batch_poll_s": 5,
    "probe.damaged": "fail",
    "probe.max_lost_share": 0.25,
    "probe.truncated": "keep",
    # Nothing is said in this video.
    "speech.sources": ["stream"],
    "speech.languages": ["en"],
    "speech.encoding": "cp1252",
    "speech.broken": "fail",
    "speech.merged": False,
    "speech.part_minutes": 1,
    "speech.audio": "mp3",
    "speech.prompt": "Ann",
    "speech.whisper_model": "model",
    "endpoints.speech": {**ENDPOINT, "model": "whisper-1"},
    "merge.min_captioned": 0.5,
    "ask.reasks": 3,
    # Written without a call, and what the others are asked stays.
    "ask.kinds": {"order": 1},
    "ask.most": 3,
    "ask.fresh_tries": 3,
    "engine.scratch_dir": "elsewhere",
    "engine.scratch_gb": 1,
    "engine.decode_still_s": 5,
    "engine.decode_slowest": 5,
    "engine.decode_memory_gb": 5,
    "engine.num_cpus": 1,
    "engine.executor": "local",
    "engine.video_cpus": 2,
    "engine.parts": 7,
    "engine.chat_workers": 7,
    "engine.video_memory_gb": 7,
    "storage.endpoint_url": "http://127.0.0.1:2",
    "storage.region": "eu-central-1",
    "storage.path_style": True,
    "storage.anonymous": True,
    "storage.profile": "mine",
    "engine.rows_per_shard": 1,
    "engine.passes": 1,
    "engine.max_cost": 1,
    "engine.max_requests": 1,
    "engine.retry_failures": True,
    "endpoints.checker": {**ENDPOINT, "model": "n"},
    "endpoints.watcher": {**ENDPOINT, "model": "n"},
    "serve.host": "::1",
    "serve.port": 1,
    "serve.token_env": "TOKEN",
    "serve.models": ["n"],
    "serve.allow": ["/films"],
    "serve.networks": ["10.0.0.0/8"],
    "serve.max_gb": 1,
    "serve.max_minutes": 1,
    "serve.at_once": 1,
    "serve.waiting": 1,
    "serve.access_keys_env": "KEYS",
    "serve.access_keys_file": "/keys",
    "serve.public_url": "https://films.example",
    "serve.detached": "stop",
    "serve.downloads": 1,
    "serve.download_minutes": 1,
    "serve.shots_as": "text",
    "serve.titles": 2,
    "serve.kept_days": 1,
}
MISSES: dict[str, tuple[Any, set[str]]] = {
    "endpoints.vlm.base_url": ("http://127.0.0.1:2/v1", {"caption"}),
    "endpoints.vlm.model": ("n", {"caption"}),
    "endpoints.vlm.temperature": (0.5, {"caption"}),
    "endpoints.vlm.max_tokens": (9, {"caption"}),
    "endpoints.vlm.extra_body": ({"top_p": 0.5}, {"caption"}),
    "endpoints.vlm.reasoning": ({"off": True}, {"caption"}),
    "endpoints.llm.model": ("n", {"ask", "reformat"}),
    "endpoints.reformat": ({**ENDPOINT, "model": "n"}, {"reformat"}),
    "split.max_seconds": (15, {"caption", "ask"}),
    "sample.count": (4, {"caption"}),
    "sample.per_second": (2, {"caption"}),
    "sample.short_side": (64, {"caption"}),
    "sample.quality": (50, {"caption"}),
    "sample.reader": ("decord", {"caption"}),
    "caption.prompt": ("Say what is there.", {"caption"}),
    "caption.system": ("Be brief.", {"caption"}),
    "caption.temperature": (0, {"caption"}),
    "caption.max_tokens": (50, {"caption"}),
    "ask.prompt": ("{captions} Write {questions}", {"ask"}),
    "ask.system": ("Be brief.", {"ask"}),
    "ask.temperature": (0, {"ask"}),
    "ask.max_tokens": (50, {"ask"}),
    "ask.quota": ({"goal": 1}, {"ask"}),
    "ask.categories": ({"goal": "what somebody is after"}, {"ask"}),
    "ask.per_minute": (4, {"ask"}),
    "ask.per_call": (3, {"ask"}),
    "ask.language": ("German", {"ask"}),
    "ask.reply_format": ("json_schema", {"ask"}),
    "reformat.prompt": ("{question} {answer} {reason}", {"reformat"}),
    "reformat.system": ("Be brief.", {"reformat"}),
    "reformat.temperature": (0, {"reformat"}),
    "reformat.max_tokens": (50, {"reformat"}),
}
# They decide which clips or questions there are, or what `values` fills in; what is then asked about one is as above.
BY_ITS_CLIPS = {"split", "filter", "cut", "checks", "summarize", "analysis"}
BY_THE_PROMPT = {"caption.values", "ask.values", "reformat.values", "caption.media", "ask.frames", "reformat.source"}


def changed(path: str, value: Any) -> Job:
    given: dict[str, Any] = {**JOB, "endpoints": {role: dict(at) for role, at in JOB["endpoints"].items()}}
    *sections, name = path.split(".")
    place = given
    for section in sections:
        place = place.setdefault(section, {})
    place[name] = value
    return Job.of(given)


@pytest.mark.parametrize("path", HITS)
def test_how_it_is_done_is_a_hit(path: str) -> None:
    assert keys(changed(path, HITS[path])) == keys(Job.of(JOB))


@pytest.mark.parametrize("path", MISSES)
def test_what_is_asked_is_a_miss(path: str) -> None:
    before, (value, stages) = keys(Job.of(JOB)), MISSES[path]
    after = keys(changed(path, value))
    for stage in ALL:
        assert bool(set(before[stage]) & set(after[stage])) == (stage not in stages), stage


SERVED: dict[str, Any] = {"engine": "command", "model": "m", "command": ["serve", "{port}"]}
SERVED_HITS: dict[str, Any] = {
    "replicas": 3,
    "gpus": 2,
    "cpus": 2,
    "slots": 7,
    "command": ["other", "{port}"],
    "warmup_s": 5,
    "price_gpu_hour": 2,
    "timeout_s": 9,
}


def served(**changes: Any) -> Job:
    return Job.of(JOB | {"endpoints": {"vlm": SERVED | changes, "llm": ENDPOINT}})


@pytest.mark.parametrize("name", SERVED_HITS)
def test_how_a_model_is_served_is_a_hit(name: str) -> None:
    assert keys(served(**{name: SERVED_HITS[name]})) == keys(served())


def test_the_arguments_and_the_address_of_an_engine_are_a_hit() -> None:
    before = served(engine="vllm", command=[])
    changed = served(engine="vllm", command=[], engine_args={"max_model_len": 9}, slots=1)
    running = before.endpoints.running_at(dict.fromkeys(before.endpoints.served, ("http://h:1/v1", 2)))
    assert keys(before) == keys(changed) == keys(before.model_copy(update={"endpoints": running}))
    assert running.of("vlm").tier_url == "http://h:1/v1"


@pytest.mark.parametrize("changes", [{"engine": "vllm", "command": []}, {"model": "n"}, {"temperature": 0.5}])
def test_another_engine_model_or_sampling_is_a_miss(changes: dict[str, Any]) -> None:
    before, after = keys(served()), keys(served(**changes))
    assert not set(before["caption"]) & set(after["caption"])
    assert before["ask"] == after["ask"]


def test_another_file_is_a_miss_and_another_place_in_the_corpus_is_a_hit() -> None:
    job = Job.of(JOB)
    assert not set(keys(job)["caption"]) & set(keys(job, Video(id="v", uri="/v.mp4", fingerprint="f2"))["caption"])
    assert keys(job) == keys(job, Video(id="other", uri="/v.mp4", fingerprint="f1"))


def settings(section: Any, prefix: str = "") -> set[str]:
    names: set[str] = set()
    of_model = isinstance(section, BaseModel)
    for name in type(section).model_fields if of_model else [field.name for field in fields(section)]:
        value = getattr(section, name)
        nested = isinstance(value, BaseModel) or is_dataclass(value)
        names |= settings(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}"}
    return names


def test_every_setting_of_serving_is_a_hit_or_a_miss() -> None:
    known = {*SERVED_HITS, "engine", "model", "engine_args"}
    assert set(ServedEndpoint.model_fields) - set(Endpoint.model_fields) <= known


def test_every_setting_is_a_hit_or_a_miss() -> None:
    known = {*HITS, *MISSES, *BY_THE_PROMPT}
    unknown = {name for name in settings(Job.of(JOB)) - known if name.split(".")[0] not in BY_ITS_CLIPS}
    assert {name for name in unknown if not name.startswith("endpoints.llm.")} == set()
