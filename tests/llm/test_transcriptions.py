"""Sound over the wire: what an endpoint gets, and what may come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from lvqa_ray.errors import ApiError, AuthFailed, BadRequest, MalformedReply, RateLimited
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Message, Part, Text
from lvqa_ray.llm.middleware.budget import estimate_usd
from lvqa_ray.llm.middleware.cache import CacheMiddleware, RecordPaidReplies
from lvqa_ray.llm.pricing import sound_usd
from lvqa_ray.llm.transport.transcriptions import Transcriber, wire
from lvqa_ray.records.transcript import Segment, Transcript
from lvqa_ray.video.audio.pcm import MIMES, RATE, SOUND_FORMS, Form, encoded
from tests.fakes.endpoint import FakeEndpoint, Status
from tests.fakes.faults import Fault
from tests.spoken import spoken

SENTENCE = "The bridge is closed today."


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(sentences={SENTENCE: len(spoken(SENTENCE)) / RATE}) as endpoint:
        yield endpoint


def endpoint(fake: FakeEndpoint, **given: Any) -> Endpoint:
    return Endpoint(base_url=fake.base_url, model="whisper-1", api_key_env=None, **given)


def request(*more: Part, form: Form = "opus") -> ChatRequest:
    data = encoded(spoken(SENTENCE), form)
    sound = Media(identity="f sound 0-1421", mime=MIMES[form], data=data, seconds=len(spoken(SENTENCE)) / RATE)
    message = Message(role="user", parts=(*more, sound))
    return ChatRequest(stage="transcribe", version="transcribe/1", messages=(message,))


def asked(at: Endpoint, *requests: ChatRequest, key: str = "") -> list[ChatReply]:
    async def all_of_them() -> list[ChatReply]:
        to = wire(at, SecretStr(key), sound=True)
        assert isinstance(to, Transcriber)
        try:
            return [await to(each) for each in requests]
        finally:
            await to.aclose()

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("form", SOUND_FORMS)
def test_an_endpoint_gets_mono_of_16_khz_and_gives_times(fake: FakeEndpoint, form: Form) -> None:
    at = endpoint(fake, extra_body={"language": "en"}, temperature=0, price_minute=0.006)
    (reply,) = asked(at, request(Text(text="Ann, Bob"), form=form))
    said = Transcript.of(reply.text)
    assert (said.language, [segment.text for segment in said.segments]) == ("english", [SENTENCE])
    assert said.segments[0].start_s == pytest.approx(0, abs=0.05)
    assert said.segments[0].end_s == pytest.approx(len(spoken(SENTENCE)) / RATE, abs=0.05)
    assert reply.usage.cost_usd == pytest.approx(0.006 / 60)  # the endpoint bills one second
    body = fake.requests[0].body
    assert body["sound"].items() >= {"mime": MIMES[form], "channels": 1}.items()
    assert body["sound"]["seconds"] == pytest.approx(len(spoken(SENTENCE)) / RATE, abs=0.01)
    fields = {name: body[name] for name in body if name != "sound"}
    assert fields == {
        "model": "whisper-1",
        "language": "en",
        "temperature": "0.0",
        "prompt": "Ann, Bob",
        "response_format": "verbose_json",
        "timestamp_granularities[]": "segment",
    }


def test_one_without_times_is_asked_for_the_text_and_then_not_for_more(fake: FakeEndpoint) -> None:
    fake.times = False
    replies = asked(endpoint(fake), request(), request())
    seconds = len(spoken(SENTENCE)) / RATE
    assert [Transcript.of(reply.text).segments for reply in replies] == [(Segment(0.0, seconds, SENTENCE),)] * 2
    assert [one.body["response_format"] for one in fake.requests] == ["verbose_json", "json", "json"]


def test_what_is_refused_is_an_error_as_of_any_call(fake: FakeEndpoint) -> None:
    fake.fail_next(Status(400), times=2)
    with pytest.raises(BadRequest):
        asked(endpoint(fake), request())
    fake.fail_next(Fault.MALFORMED)
    with pytest.raises(MalformedReply):
        asked(endpoint(fake), request())
    for tier in ("standard", "flex"):  # a transcription has no cheaper tier: no request waits for capacity
        fake.fail_next(Status(429, "resource_unavailable"))
        with pytest.raises(ApiError) as raised:
            asked(endpoint(fake, tier=tier), request())
        assert type(raised.value) is RateLimited
    fake.api_key = "right"
    with pytest.raises(AuthFailed) as caught:
        asked(endpoint(fake), request(), key="wrong-secret")
    assert "wrong-secret" not in str(caught.value)


ODD: list[tuple[Any, Any]] = [
    ({"text": "", "segments": []}, ()),
    ({"text": " "}, ()),
    ({"segments": [{"start": 0, "end": 30.0, "text": " Hi. "}, {"start": 29, "end": 30, "text": "Late."}]}, ("Hi.",)),
    ({"segments": [{"start": 0, "end": 1, "text": "Thanks.", "no_speech_prob": 0.9, "avg_logprob": -1.5}]}, ()),
    ({"segments": [{"start": 0, "end": 1, "text": "Said.", "no_speech_prob": 0.9, "avg_logprob": -0.2}]}, ("Said.",)),
    ({"segments": [{"start": 0, "text": "No end."}]}, None),
    ({"segments": [{"start": 1, "end": float("nan"), "text": "Not a time."}]}, None),
    ({"segments": ["Hi."]}, None),
    ({"words": []}, None),
    (["Hi."], None),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "texts"), ODD)
def test_what_may_come_back(answer: Any, texts: tuple[str, ...] | None) -> None:
    async def ask() -> ChatReply:
        async def reply(_: web.Request) -> web.Response:
            return web.json_response(answer)

        app = web.Application()
        app.router.add_post("/v1/audio/transcriptions", reply)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        at = Endpoint(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1", model="m", api_key_env=None)
        to = wire(at, SecretStr(""), sound=True)
        try:
            return await to(request())
        finally:
            await to.aclose()
            await runner.cleanup()

    if texts is None:
        with pytest.raises(MalformedReply):
            asyncio.run(ask())
    else:
        segments = Transcript.of(asyncio.run(ask()).text).segments
        assert tuple(segment.text for segment in segments) == texts
        assert all(segment.end_s <= 1.5 for segment in segments)


def test_it_is_paid_once_and_then_read_from_the_journal(fake: FakeEndpoint, tmp_path: Path) -> None:
    async def ask() -> list[ChatReply]:
        to = wire(endpoint(fake, price_minute=0.6), SecretStr(""), sound=True)
        journal = JournalReplyStore(tmp_path, writer="w", stage="transcribe")
        cached = CacheMiddleware(RecordPaidReplies(to, journal, lambda _: "00" * 32, "m"), journal, lambda _: "00" * 32)
        try:
            return [await cached(request()), await cached(request())]
        finally:
            await to.aclose()

    first, second = asyncio.run(ask())
    assert (first.text, second.usage.cached, len(fake.requests)) == (second.text, 1, 1)


def test_prices() -> None:
    def at(model: str, url: str = "https://api.openai.com/v1", **given: Any) -> Endpoint:
        return Endpoint(base_url=url, model=model, **given)

    assert sound_usd(at("whisper-1"), 600) == pytest.approx(0.06)
    assert sound_usd(at("whisper-1", price_minute=0.01), 600) == pytest.approx(0.1)
    assert sound_usd(at("whisper-1", "http://127.0.0.1:8000/v1"), 600) is None
    assert sound_usd(at("gpt-4o-transcribe"), 600) is None  # it counts tokens, which are not known before
    paid = sound_usd(at("gpt-4o-transcribe"), 60, 1000, 100, audio_tokens=900)
    assert paid == pytest.approx((100 * 2.5 + 900 * 6 + 100 * 10) / 1e6)
    assert sound_usd(at("own", price_in=1, price_out=2), 60, 1000, 100) == pytest.approx(1200 / 1e6)
    assert estimate_usd(at("m", price_minute=0.6), request()) == pytest.approx(0.01 * len(spoken(SENTENCE)) / RATE)
