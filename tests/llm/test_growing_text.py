"""Texts that are shown while an endpoint streams them: their growth, and streams that break."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import SecretStr

from lvqa_ray.errors import ApiError, NoCapacity
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from tests.fakes.endpoint import FakeEndpoint, Fault, Status
from tests.fakes.scripted import Reply, Scripted

TEXT = "光从左向右穿过彩色的墙, and then another block goes back again to where it came from."


def ask(
    fake: FakeEndpoint, journal: Path, callers: int = 1, **endpoint: object
) -> tuple[list[ChatReply], list[list[str]]]:
    """Ask for the same reply several times at once; the replies, and the texts that each caller was shown."""
    at = Endpoint.model_validate(
        {"base_url": fake.base_url, "model": "m", "api_key_env": None, "backoff_base_s": 0.01, **endpoint}
    )
    shown: list[list[str]] = [[] for _ in range(callers)]

    async def all_of_them() -> list[ChatReply]:
        wire = OpenAITransport(at, SecretStr(""))
        store = JournalReplyStore(journal, writer="w", stage="summary")
        route = EndpointRoute(at, wire, LeasePool(LocalLeaseServer(Limiter(Limits.of(at)))))
        chat = build_client([route], store)
        messages = (Message.of("user", "Tell the story."),)
        requests = [
            ChatRequest(stage="summary", version="1", messages=messages, on_text=texts.append) for texts in shown
        ]
        try:
            return await asyncio.gather(*map(chat, requests))
        finally:
            await wire.aclose()
            store.close()

    return asyncio.run(all_of_them()), shown


def lines(journal: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in sorted(journal.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_the_text_grows_and_the_journal_holds_the_whole(tmp_path: Path) -> None:
    with FakeEndpoint(answer=lambda _: TEXT, stream_pause_s=0.02) as fake:
        (first, second), shown = ask(fake, tmp_path, callers=2)
        assert first.text == second.text == TEXT
        for texts in shown:
            assert len(texts) > 4
            assert all(TEXT.startswith(text) for text in texts)
            assert [*map(len, texts)] == sorted(map(len, texts))
        assert first.usage.output_tokens > 0, "the stream was asked for its token counts"
        assert [line["text"] for line in lines(tmp_path)] == [TEXT]
        (third,), (texts,) = ask(fake, tmp_path)
        assert (third.text, third.usage.cached, texts) == (TEXT, 1, [])
        assert fake.paid.total() == 1


def test_a_stream_that_breaks_is_paid_for_and_sent_again(tmp_path: Path) -> None:
    with FakeEndpoint(answer=lambda _: TEXT, stream_pause_s=0.02) as fake:
        fake.fail_next(Fault.CUT_OFF)
        (reply,), (texts,) = ask(fake, tmp_path)
        assert reply.text == TEXT
        assert fake.asked == 2
        assert any(len(later) < len(earlier) for earlier, later in pairwise(texts)), "it began anew"
        broken, whole = lines(tmp_path)
        assert broken["error"] == "disconnected"
        assert isinstance(broken["output_tokens"], int)
        assert broken["output_tokens"] > 0
        assert (whole["text"], whole["key"]) == (TEXT, broken["key"])
        assert ask(fake, tmp_path)[0][0].usage.cached == 1, "the broken one does not answer the request"


@pytest.mark.parametrize("tier", ["standard", "flex"])
@pytest.mark.parametrize("code", ["server_error", "resource_unavailable"])
def test_a_stream_that_ends_with_an_error_is_paid_for(tmp_path: Path, tier: str, code: str) -> None:
    """Also if the error is a lack of capacity, which is free only before the first text."""
    said = {"choices": [{"index": 0, "delta": {"content": TEXT}}]}
    failed = {"error": {"code": code, "message": "Something broke."}}
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in (said, failed)).encode()
    shown: list[str] = []
    asked = ChatRequest(stage="s", version="1", messages=(Message.of("user", "Tell the story."),), on_text=shown.append)
    with Scripted(lambda _: Reply(200, body, "text/event-stream")) as server:
        given = {"base_url": server.base_url, "model": "m", "api_key_env": None, "tier": tier}
        at = Endpoint.model_validate(given | {"price_in": 0.0, "price_out": 1.0})

        async def send() -> None:
            wire = OpenAITransport(at, SecretStr(""))
            try:
                await wire(asked)
            finally:
                await wire.aclose()

        with pytest.raises(ApiError, match="Something broke") as raised:
            asyncio.run(send())
    bill = raised.value.bill
    assert shown[-1] == TEXT
    assert bill is not None
    assert bill.output_tokens > 10
    assert bill.cost_usd == pytest.approx(bill.output_tokens / 1e6 * (0.5 if tier == "flex" else 1))
    assert not isinstance(raised.value, NoCapacity)


@pytest.mark.parametrize("refusal", ["Streaming is not supported for this model.", "Unknown parameter: 'stream'."])
def test_an_endpoint_without_streams_is_asked_without(tmp_path: Path, refusal: str) -> None:
    with FakeEndpoint(answer=lambda _: TEXT) as fake:
        fake.fail_next(Status(400, "invalid_value", "invalid_request_error", refusal))
        (reply,), (texts,) = ask(fake, tmp_path)
        assert (reply.text, texts) == (TEXT, [])
        assert ["stream" in request.body for request in fake.requests] == [True, False]
