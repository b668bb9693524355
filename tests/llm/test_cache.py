"""A paid answer is never asked for again."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from lvqa_ray import errors
from lvqa_ray.journal import maintenance
from lvqa_ray.journal.entries import entry_of
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.error_policy import POLICIES
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest, Message
from lvqa_ray.llm.middleware.cache import CacheMiddleware, RecordPaidReplies
from lvqa_ray.llm.middleware.retry import RetryMiddleware
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.records import Usage
from tests.fakes.endpoint import FakeEndpoint, Fault
from tests.journal.paid import ENDPOINT, HIT, REPLY, REQUEST


class Counting:
    """Answers after a while, and counts."""

    def __init__(self, error: errors.ApiError | None = None) -> None:
        self.calls = 0
        self.error = error

    async def __call__(self, _: ChatRequest) -> ChatReply:
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        return REPLY


def cached_over(inner: Chat, folder: Path, endpoint: Endpoint = ENDPOINT) -> CacheMiddleware:
    journal, key_of = JournalReplyStore(folder, writer="w", stage="ask"), partial(cache_key, endpoint)
    return CacheMiddleware(RecordPaidReplies(inner, journal, key_of, "m"), journal, key_of)


def test_a_miss_is_paid_and_a_hit_is_not(tmp_path: Path) -> None:
    inner = Counting()

    async def run() -> None:
        cached = cached_over(inner, tmp_path)
        assert await cached(REQUEST) == REPLY
        assert await cached(REQUEST) == HIT
        assert await cached_over(inner, tmp_path)(REQUEST) == HIT

    asyncio.run(run())
    assert inner.calls == 1


def test_the_same_at_the_same_time_is_asked_once(tmp_path: Path) -> None:
    inner = Counting()

    async def run() -> list[ChatReply]:
        cached = cached_over(inner, tmp_path)
        return await asyncio.gather(*[cached(REQUEST) for _ in range(5)])

    assert asyncio.run(run()) == [REPLY, HIT, HIT, HIT, HIT]
    assert inner.calls == 1


def test_a_caller_that_gives_up_loses_no_answer(tmp_path: Path) -> None:
    inner = Counting()

    async def run() -> None:
        cached = cached_over(inner, tmp_path)
        first, second = (asyncio.create_task(cached(REQUEST)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == HIT
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(run())
    assert inner.calls == 1


def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    inner = Counting(errors.Overloaded("busy"))

    async def run() -> None:
        cached = cached_over(inner, tmp_path)
        outcomes = await asyncio.gather(cached(REQUEST), cached(REQUEST), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [errors.Overloaded] * 2
        inner.error = None
        assert await cached(REQUEST) == REPLY

    asyncio.run(run())
    assert inner.calls == 2


def test_what_cannot_be_kept_is_not_asked_for() -> None:
    """A full disk: going on would pay for answers and lose them."""
    inner = Counting()

    class Full:
        broken: OSError | None = None

        async def find(self, _key: str) -> ChatReply | None:
            return None

        def put(self, _key: str, _reply: ChatReply | errors.ApiError, _model: str = "") -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        async def kept(self) -> None:
            raise AssertionError

    async def run() -> None:
        full, key_of = Full(), partial(cache_key, ENDPOINT)
        cached = CacheMiddleware(RecordPaidReplies(inner, full, key_of, "m"), full, key_of)
        for n in range(3):
            with pytest.raises(errors.StopRun, match="No space left"):
                await cached(replace(REQUEST, attempt=n))

    asyncio.run(run())
    assert inner.calls == 1


def test_a_request_that_waited_while_the_disk_filled_up_is_not_sent(tmp_path: Path) -> None:
    inner = Counting()
    folder = tmp_path / "journal"
    journal = JournalReplyStore(folder, writer="w", stage="ask")
    noted = RecordPaidReplies(inner, journal, partial(cache_key, ENDPOINT), "m")
    folder.rmdir()
    with pytest.raises(OSError, match="No such file"):
        journal.put("00" * 32, REPLY)
    with pytest.raises(errors.StopRun, match="cannot be written"):
        asyncio.run(noted(REQUEST))
    assert inner.calls == 0


def test_over_http_nothing_is_paid_twice(tmp_path: Path) -> None:
    async def ask(url: str) -> list[Usage]:
        endpoint = Endpoint(base_url=url, model="m", price_in=1, price_out=1)
        transport = OpenAITransport(endpoint, SecretStr(""))
        cached = cached_over(transport, tmp_path, endpoint)
        requests = [replace(REQUEST, messages=(Message.of("user", f"number {n % 10}"),)) for n in range(20)]
        try:
            return [reply.usage for reply in await asyncio.gather(*map(cached, requests))]
        finally:
            await transport.aclose()

    with FakeEndpoint() as fake:
        first, second = asyncio.run(ask(fake.base_url)), asyncio.run(ask(fake.base_url))
        assert list(fake.paid.values()) == [1] * 10
        paid = sum((usage for usage in first if not usage.cached), Usage())
        assert (paid.calls, paid.input_tokens, paid.output_tokens) == (10, fake.tokens_in, fake.tokens_out)
        assert all(usage.cached for usage in second)
        assert sum(second, Usage()).cost_usd == pytest.approx(2 * (paid.cost_usd or 0))


UNUSABLE = [Fault.LENGTH, Fault.CONTENT_FILTER, Fault.REFUSAL]


class Line:
    """A client path over HTTP, made anew each time, as a later run makes it."""

    def __init__(self, fake: FakeEndpoint, folder: Path, writer: str, *, ask_again: bool = False) -> None:
        endpoint = Endpoint(base_url=fake.base_url, model="m", price_in=1, price_out=1)
        key_of = partial(cache_key, endpoint)
        journal = JournalReplyStore(folder, writer=writer, stage="ask")
        self.wire = OpenAITransport(endpoint, SecretStr(""))
        retrying = RetryMiddleware(RecordPaidReplies(self.wire, journal, key_of, "m"), 6, base_s=0.001)
        self.cached = CacheMiddleware(retrying, journal, key_of, ask_again=ask_again)

    def ask(self, *requests: ChatRequest) -> list[ChatReply | BaseException]:
        async def all_of_them() -> list[ChatReply | BaseException]:
            try:
                return await asyncio.gather(*map(self.cached, requests), return_exceptions=True)
            finally:
                await self.wire.aclose()

        return asyncio.run(all_of_them())


@pytest.mark.parametrize("fault", UNUSABLE)
def test_a_reply_of_no_use_is_paid_once_and_fails_again_for_nothing(tmp_path: Path, fault: Fault) -> None:
    with FakeEndpoint() as fake:
        fake.fail_next(fault)
        (first,) = Line(fake, tmp_path, "one").ask(REQUEST)
        (second,) = Line(fake, tmp_path, "two").ask(REQUEST)
        assert len(fake.requests) == 1
        assert isinstance(first, errors.ApiError)
        assert isinstance(second, errors.ApiError)
        assert (type(second), str(second), second.raw, second.bill) == (type(first), str(first), first.raw, first.bill)
        assert (first.cached, second.cached) == (False, True)
        (third,) = Line(fake, tmp_path, "three", ask_again=True).ask(REQUEST)
        assert isinstance(third, ChatReply)
        (fourth,) = Line(fake, tmp_path, "four").ask(REQUEST)
        assert isinstance(fourth, ChatReply), "an answer goes before a failure"
        assert fourth.usage.cached == 1
        assert len(fake.requests) == 2


def test_an_answer_that_was_of_no_use_is_asked_anew_only_where_failures_are_done_again(tmp_path: Path) -> None:
    stale = replace(REQUEST, stale=True)
    with FakeEndpoint() as fake:
        replies = iter(["of no use", "better"])
        fake.answer = lambda _: next(replies)
        Line(fake, tmp_path, "20260101T000000Z_a").ask(REQUEST)
        (same,) = Line(fake, tmp_path, "20260102T000000Z_a").ask(stale)
        assert isinstance(same, ChatReply)
        assert (same.text, same.usage.cached, len(fake.requests)) == ("of no use", 1, 1)
        maintenance.compact(tmp_path)
        again = Line(fake, tmp_path, "99990101T000000Z_a", ask_again=True)
        both = again.ask(REQUEST, stale)
        assert [reply.text for reply in both if isinstance(reply, ChatReply)] == ["of no use", "better"]
        for _ in range(2):
            (kept,) = Line(fake, tmp_path, "99990102T000000Z_a").ask(REQUEST)
            assert isinstance(kept, ChatReply)
            assert (kept.text, kept.usage.cached) == ("better", 1)
            maintenance.compact(tmp_path)
        assert len(fake.requests) == 2


@pytest.mark.parametrize("fault", [Fault.NULL_CONTENT, Fault.EMPTY_CHOICES])
def test_a_reply_that_may_do_better_is_on_the_bill_and_asked_again(tmp_path: Path, fault: Fault) -> None:
    attempts = POLICIES[errors.MalformedReply].attempts or 0
    with FakeEndpoint() as fake:
        fake.fail_next(fault, times=attempts)
        (first,) = Line(fake, tmp_path, "one").ask(REQUEST)
        assert isinstance(first, errors.MalformedReply)
        assert (first.attempts, len(fake.requests)) == (attempts, attempts)
        (second,) = Line(fake, tmp_path, "two").ask(REQUEST)
        assert isinstance(second, ChatReply)
        assert second.usage.cached == 0
    journal = JournalReplyStore(tmp_path, writer="three", stage="ask")
    assert (len(journal.index()), journal.corrupt_lines) == (1, 0)
    assert len((tmp_path / "ask-one.jsonl").read_bytes().splitlines()) == attempts


def test_the_ledger_is_the_endpoints_own_count_to_the_token(tmp_path: Path) -> None:
    shares = {**dict.fromkeys(UNUSABLE, 0.06), Fault.NULL_CONTENT: 0.06, Fault.EMPTY_CHOICES: 0.06}
    shares |= {Fault.SERVER_ERROR: 0.06, Fault.HTML: 0.06, Fault.CUT_OFF: 0.06, Fault.ERROR_BODY: 0.06}
    requests = [replace(REQUEST, messages=(Message.of("user", f"number {n} {'x ' * n}"),)) for n in range(120)]
    with FakeEndpoint(faults=shares, seed=3) as fake:
        Line(fake, tmp_path, "one").ask(*requests)
        assert fake.counts["ok"] < len(requests)
    entries = [entry_of(line) for path in tmp_path.iterdir() for line in path.read_bytes().splitlines()]
    usage = sum((entry.usage for entry in entries if entry), Usage())
    assert (usage.input_tokens, usage.output_tokens) == (fake.tokens_in, fake.tokens_out)
    assert usage.cost_usd == pytest.approx((fake.tokens_in + fake.tokens_out) / 1e6)
    assert max(fake.paid.values()) == 1


def test_what_is_not_sent_yet_is_given_up_with_its_last_caller(tmp_path: Path) -> None:
    """A request that waits for its turn costs nothing: once all who asked have gone away, it is never sent."""
    sent: list[ChatRequest] = []
    on_wire: set[str] = set()

    async def pays(request: ChatRequest) -> ChatReply:
        sent.append(request)
        await asyncio.sleep(0.05)
        return REPLY

    async def ask() -> None:
        journal = JournalReplyStore(tmp_path, writer="w", stage="caption")
        names = partial(cache_key, ENDPOINT)
        wire = RecordPaidReplies(pays, journal, names, "m", on_wire)
        turn = asyncio.Event()

        async def waits(request: ChatRequest) -> ChatReply:
            await turn.wait()
            return await wire(request)

        cached = CacheMiddleware(waits, journal, names, on_wire=on_wire)
        gone, stays = (asyncio.create_task(cached(replace(REQUEST, attempt=attempt))) for attempt in (0, 1))
        also = asyncio.create_task(cached(replace(REQUEST, attempt=1)))
        await asyncio.sleep(0)
        gone.cancel()
        stays.cancel()
        await asyncio.sleep(0.01)
        turn.set()
        assert (await also).text == REPLY.text
        assert [request.attempt for request in sent] == [1]
        assert (await cached(REQUEST)).text == REPLY.text  # who comes later is served

    asyncio.run(ask())
