"""The call itself, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import logging
import pickle
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from lvqa_ray import errors
from lvqa_ray.llm.endpoint import DEMO_MODEL, Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Message, Text
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.records import Usage
from tests.fakes.endpoint import FakeEndpoint, Fault, RetryAfter, Status
from tests.fakes.files import free_port

SECRET = "sk-test-PLANTED-0123456789"  # noqa: S105 - planted, to look for it
PLAIN_SECRET = "correct-horse-battery"  # noqa: S105 - looks like nothing that a pattern would find


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


def ask(
    fake: FakeEndpoint | str, request: ChatRequest | None = None, *, key: str = SECRET, **fields: object
) -> ChatReply:
    url = fake if isinstance(fake, str) else fake.base_url
    endpoint = Endpoint.model_validate({"base_url": url, "model": "fake-vlm", **fields})

    async def once() -> ChatReply:
        transport = OpenAITransport(endpoint, SecretStr(key))
        try:
            return await transport(request or request_of("Hello there"))
        finally:
            await transport.aclose()

    return asyncio.run(once())


def request_of(text: str, *media: Media) -> ChatRequest:
    system = Message.of("system", "You watch videos.")
    return ChatRequest(
        stage="caption", version="1", messages=(system, Message(role="user", parts=(*media, Text(text=text))))
    )


def models_of(fake: FakeEndpoint | str, *, key: str = SECRET, model: str = "fake-vlm") -> list[str]:
    url = fake if isinstance(fake, str) else fake.base_url

    async def once() -> list[str]:
        transport = OpenAITransport(Endpoint(base_url=url, model=model), SecretStr(key))
        try:
            return list((await transport.list_models()).names)
        finally:
            await transport.aclose()

    return asyncio.run(once())


def test_an_answer_with_its_usage_and_its_cost(fake: FakeEndpoint) -> None:
    reply = ask(fake, price_in=1.0, price_out=2.0)
    assert reply.model == "fake-vlm"
    assert reply.text
    assert reply.usage.calls == 1
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (fake.tokens_in, fake.tokens_out)
    assert reply.usage.cost_usd == pytest.approx((fake.tokens_in + 2 * fake.tokens_out) / 1e6)


def test_parts_become_content(fake: FakeEndpoint) -> None:
    frame = Media(identity="f", mime="image/jpeg", data=b"\xff\xd8picture")
    clip = Media(identity="c", mime="video/mp4", data=b"movie")
    ask(fake, request_of("What is seen?", frame, clip), temperature=0.5, max_tokens=99, extra_body={"top_p": 0.8})
    body = fake.requests[0].body
    assert body["messages"] == [
        {"role": "system", "content": "You watch videos."},
        {
            "role": "user",
            "content": [
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/jpeg;base64," + base64.b64encode(frame.data).decode()},
                },
                {
                    "type": "video_url",
                    "video_url": {"url": "data:video/mp4;base64," + base64.b64encode(clip.data).decode()},
                },
                {"type": "text", "text": "What is seen?"},
            ],
        },
    ]
    assert {name: body[name] for name in ("model", "temperature", "max_tokens", "top_p")} == {
        "model": "fake-vlm", "temperature": 0.5, "max_tokens": 99, "top_p": 0.8,
    }  # fmt: skip


def test_only_the_demo_endpoint_is_sent_the_stage_and_the_facts(fake: FakeEndpoint) -> None:
    fake.models = ("fake-vlm", DEMO_MODEL)
    request = replace(request_of("hello"), facts={"captions": "half \ud83d of a pair", "count": 2})
    ask(fake, request)
    ask(fake, request, model=DEMO_MODEL)
    ask(fake, request_of("hello"), model=DEMO_MODEL)
    told = {"stage": "caption", "facts": {"captions": "half \ufffd of a pair", "count": 2}}
    assert [sent.body.get("lvqa") for sent in fake.requests] == [None, told, None]
    places = {"http://127.0.0.1:8901/v1": True, "http://[::1]/v1": True, "https://api.openai.com/v1": False}
    places |= {"http://127.0.0.1.example.com/v1": False, "http://192.0.2.1/v1": False}
    assert {url: Endpoint(base_url=url, model=DEMO_MODEL).is_demo for url in places} == places


def test_a_request_sets_its_own_sampling(fake: FakeEndpoint) -> None:
    request = ChatRequest(stage="s", version="1", messages=(Message.of("user", "x"),), temperature=0.0, max_tokens=7)
    ask(fake, request, temperature=0.5, max_tokens=99)
    assert fake.requests[0].body["temperature"] == 0.0
    assert fake.requests[0].body["max_tokens"] == 7


def test_lone_surrogates_can_be_sent_and_received(fake: FakeEndpoint) -> None:
    fake.answer = lambda _: "half \ud83d of a pair, \u00e9"
    assert ask(fake, request_of("broken \udc00 text")).text == "half \ufffd of a pair, \u00e9"
    assert fake.requests[0].body["messages"][1]["content"] == "broken \ufffd text"


def test_one_key_one_header_and_none_without_a_key(fake: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-this-one")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-not-this-one-either")
    ask(fake)
    ask(fake, key="")
    assert fake.requests[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert "Authorization" not in fake.requests[1].headers
    assert "not-this-one" not in str(fake.requests)


FAULTS: list[tuple[Fault | Status, type[errors.ApiError]]] = [
    (Fault.RATE_LIMIT, errors.RateLimited),
    (Fault.SERVER_ERROR, errors.Overloaded),
    (Fault.UNAVAILABLE, errors.Overloaded),
    (Fault.OVERLOADED, errors.Overloaded),
    (Fault.DISCONNECT, errors.Disconnected),
    (Fault.CUT_OFF, errors.Disconnected),
    (Fault.MALFORMED, errors.MalformedReply),
    (Fault.HTML, errors.MalformedReply),
    (Fault.NULL_CONTENT, errors.MalformedReply),
    (Fault.EMPTY_CHOICES, errors.MalformedReply),
    (Fault.ERROR_BODY, errors.MalformedReply),
    (Fault.LENGTH, errors.TruncatedReply),
    (Fault.CONTENT_FILTER, errors.ContentFiltered),
    (Fault.REFUSAL, errors.Refused),
    (Status(400), errors.BadRequest),
    (Status(400, "context_length_exceeded"), errors.TooLong),
    (Status(400, 400, extra={"param": "input_tokens"}), errors.TooLong),
    (Status(400, "data_inspection_failed"), errors.ContentFiltered),
    (Status(400, "content_filter"), errors.ContentFiltered),
    (Status(400, 400, extra={"details": [{"reason": "API_KEY_INVALID"}]}), errors.AuthFailed),
    (Status(401), errors.AuthFailed),
    (Status(402), errors.QuotaExceeded),
    (Status(403), errors.AuthFailed),
    (Status(403, 403, extra={"metadata": {"flagged_input": "..."}}), errors.ContentFiltered),
    (Status(404, "model_not_found"), errors.NotFound),
    (Status(408), errors.TimedOut),
    (Status(409), errors.Overloaded),
    (Status(413), errors.TooLong),
    (Status(422), errors.BadRequest),
    (Status(429, "insufficient_quota"), errors.QuotaExceeded),
    (Status(429, type="insufficient_quota"), errors.QuotaExceeded),
]


@pytest.mark.parametrize(("fault", "expected"), FAULTS, ids=str)
def test_each_fault_has_its_class(fake: FakeEndpoint, fault: Fault | Status, expected: type[errors.ApiError]) -> None:
    fake.fail_next(fault)
    with pytest.raises(errors.ApiError) as caught:
        ask(fake)
    assert type(caught.value) is expected
    assert len(fake.requests) == 1, "the SDK must not retry"
    assert caught.value.status == (int(fault) if isinstance(fault, Fault) and fault.isdigit() else
                                   fault.status if isinstance(fault, Status) else None)  # fmt: skip
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_hang_ends_at_the_deadline(fake: FakeEndpoint) -> None:
    fake.fail_next(Fault.HANG)
    with pytest.raises(errors.TimedOut):
        ask(fake, timeout_s=0.2)


def test_nobody_listens() -> None:
    with pytest.raises(errors.Disconnected):
        ask(f"http://127.0.0.1:{free_port()}/v1")


def test_a_truncated_reply_keeps_its_text(fake: FakeEndpoint) -> None:
    fake.fail_next(Fault.LENGTH)
    with pytest.raises(errors.TruncatedReply) as caught:
        ask(fake)
    assert caught.value.raw


@pytest.mark.parametrize(
    "fault", [Fault.LENGTH, Fault.CONTENT_FILTER, Fault.REFUSAL, Fault.NULL_CONTENT, Fault.EMPTY_CHOICES]
)
def test_a_reply_of_no_use_has_its_bill(fake: FakeEndpoint, fault: Fault) -> None:
    fake.fail_next(fault)
    with pytest.raises(errors.ApiError) as caught:
        ask(fake, price_in=1.0, price_out=1.0)
    bill = pickle.loads(pickle.dumps(caught.value)).bill  # noqa: S301 - our own
    assert bill[:3] == (fake.tokens_in, fake.tokens_out, pytest.approx((fake.tokens_in + fake.tokens_out) / 1e6))
    assert fake.tokens_in > 0


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.HTML, Fault.CUT_OFF, Fault.ERROR_BODY, Status(400)])
def test_what_is_no_reply_has_no_bill(fake: FakeEndpoint, fault: Fault | Status) -> None:
    fake.fail_next(fault)
    with pytest.raises(errors.ApiError) as caught:
        ask(fake)
    assert caught.value.bill is None


def test_missing_usage_counts_nothing(fake: FakeEndpoint) -> None:
    fake.fail_next(Fault.NO_USAGE)
    assert ask(fake, price_in=1.0, price_out=1.0).usage == Usage(calls=1)


@pytest.mark.parametrize("retry_after", ["seconds", "ms", "date"])
def test_the_wait_that_is_asked_for(fake: FakeEndpoint, retry_after: RetryAfter) -> None:
    fake.rpm = 1
    fake.retry_after = retry_after
    ask(fake)
    with pytest.raises(errors.RateLimited) as caught:
        ask(fake)
    assert caught.value.retry_after_s is not None
    assert 55 < caught.value.retry_after_s < 62


def test_text_by_parts_and_by_an_odd_content_type() -> None:
    transport = OpenAITransport(Endpoint(base_url="http://127.0.0.1/v1", model="m"), SecretStr(""))
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    reply = transport._reply({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]})
    assert (reply.text, reply.model) == ("ab", "m")


@pytest.mark.parametrize(
    ("code", "expected"), [(429, errors.RateLimited), (502, errors.Overloaded), (200, errors.MalformedReply)]
)
def test_an_error_in_a_200_that_names_a_status(code: int, expected: type[errors.ApiError]) -> None:
    transport = OpenAITransport(Endpoint(base_url="http://127.0.0.1/v1", model="m"), SecretStr(""))
    with pytest.raises(errors.ApiError) as caught:
        transport._reply({"error": {"code": code, "message": "upstream"}})
    assert type(caught.value) is expected


def test_models_are_listed(fake: FakeEndpoint) -> None:
    fake.models = ("a", "b")
    assert models_of(fake) == ["a", "b"]
    assert not fake.requests


def test_preflight_failures(fake: FakeEndpoint) -> None:
    fake.api_key = "sk-the-right-one"
    with pytest.raises(errors.AuthFailed):
        models_of(fake)
    with pytest.raises(errors.NotFound):
        models_of(fake.base_url + "/nowhere")
    with pytest.raises(errors.Disconnected):
        models_of(f"http://127.0.0.1:{free_port()}/v1")
    fake.api_key, fake.models = None, ("another",)
    with pytest.raises(errors.NotFound, match="fake-vlm"):
        ask(fake)


@pytest.mark.parametrize("secret", [SECRET, PLAIN_SECRET])
def test_a_key_never_shows(fake: FakeEndpoint, secret: str, caplog: pytest.LogCaptureFixture) -> None:
    fake.api_key = "sk-the-right-one"
    with caplog.at_level(logging.DEBUG), pytest.raises(errors.AuthFailed) as caught:
        ask(fake, key=secret)
    assert "***" in str(caught.value), "the endpoint did echo the key"
    shown = [str(caught.value), repr(caught.value), repr(caught.value.__dict__), caplog.text]
    transport = OpenAITransport(Endpoint(base_url=fake.base_url, model="m"), SecretStr(secret))
    assert not [text for text in [*shown, repr(transport)] if secret in text]
    assert secret.encode() not in pickle.dumps(caught.value)
    with pytest.raises(TypeError):
        pickle.dumps(transport)


def test_a_client_is_made_anew_after_it_was_closed(fake: FakeEndpoint) -> None:
    async def twice() -> None:
        transport = OpenAITransport(Endpoint(base_url=fake.base_url, model="m"), SecretStr(""))
        for _ in range(2):
            await transport(request_of("x"))
            await transport.aclose()
        await transport.aclose()

    asyncio.run(twice())
    assert len(fake.requests) == 2
