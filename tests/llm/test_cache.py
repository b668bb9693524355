"""A paid answer is never asked for again."""

from __future__ import annotations

import asyncio
import errno
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lvqa_ray import errors
from lvqa_ray.llm import upkeep
from lvqa_ray.llm.cached import Cached, Noted
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.entry import entry_of
from lvqa_ray.llm.journal import Journal
from lvqa_ray.llm.key import cache_key
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Message, Text
from lvqa_ray.llm.retry import Retrying
from lvqa_ray.llm.transport import OpenAITransport
from lvqa_ray.records import Usage
from tests.fakes.endpoint import FakeEndpoint, Fault

ENDPOINT = Endpoint(base_url="https://api.openai.com/v1", model="gpt-4o-mini", temperature=0.2)
FRAME = Media(identity="fp1:0.0-10.0:8@448q90:0", mime="image/jpeg", data=b"pixels")
REQUEST = ChatRequest(
    stage="caption",
    version="1",
    messages=(
        Message.of("system", "You watch videos."),
        Message(role="user", parts=(FRAME, Text(text="Was ist das? äöü"))),
    ),
)
REPLY = ChatReply(text="a\nb \u00e9", model="m", usage=Usage(calls=1, input_tokens=5, output_tokens=7, cost_usd=0.25))
HIT = replace(REPLY, usage=replace(REPLY.usage, cached=1))


def key_of(n: int) -> str:
    return f"{n:064x}"


def other(endpoint: Endpoint = ENDPOINT, request: ChatRequest = REQUEST, **fields: Any) -> str:
    return cache_key(Endpoint.model_validate({**endpoint.model_dump(), **fields}), request)


# The key is a promise to everyone who has paid for answers: when one of these changes, all their journals are lost.
GOLDEN = {
    "plain": "61b8cd30f85969bddbaf3adc7ca57b347c4b204715f49aa075399bb5ae38b361",
    "second attempt": "6ec6a80c1b012a38593af9269119ca89cdd21d5f56bdce87e4795d39b1749824",
    "extra body": "37ce28540c20a0ad4dd590aaf643c7f63dc66e93c7fe59e7017bce3731398a3b",
}


def test_golden_keys() -> None:
    assert {
        "plain": cache_key(ENDPOINT, REQUEST),
        "second attempt": cache_key(ENDPOINT, replace(REQUEST, attempt=1, max_tokens=9)),
        "extra body": other(extra_body={"b": [1, 2.5, None], "a": {"z": "é"}}),
    } == GOLDEN


@pytest.mark.parametrize(
    "fields",
    [
        {"max_concurrency": 1},
        {"timeout_s": 1},
        {"max_attempts": 1},
        {"requests_per_minute": 1},
        {"tokens_per_minute": 1},
        {"api_key_env": "ANOTHER"},
        {"price_in": 1, "price_out": 1},
        {"base_url": "https://API.openai.com/v1/"},
    ],
    ids=str,
)
def test_what_is_a_hit(fields: dict[str, Any]) -> None:
    assert other(**fields) == cache_key(ENDPOINT, REQUEST)


def test_the_stage_and_the_bytes_do_not_count() -> None:
    parts = (replace(FRAME, data=b""), Text(text="Was ist das? äöü"))
    same = replace(REQUEST, stage="x", messages=(REQUEST.messages[0], Message(role="user", parts=parts)))
    assert cache_key(ENDPOINT, same) == cache_key(ENDPOINT, REQUEST)
    assert cache_key(ENDPOINT, replace(REQUEST, temperature=0.2)) == cache_key(ENDPOINT, REQUEST)


MISSES: dict[str, Callable[[], str]] = {
    "url": lambda: other(base_url="https://api.openai.com/v2"),
    "model": lambda: other(model="gpt-4o"),
    "temperature": lambda: other(temperature=0.3),
    "no temperature": lambda: other(temperature=None),
    "max_tokens": lambda: other(max_tokens=5),
    "extra_body": lambda: other(extra_body={"top_p": 0.8}),
    "version": lambda: cache_key(ENDPOINT, replace(REQUEST, version="2")),
    "attempt": lambda: cache_key(ENDPOINT, replace(REQUEST, attempt=1)),
    "request temperature": lambda: cache_key(ENDPOINT, replace(REQUEST, temperature=0.0)),
    "prompt": lambda: cache_key(ENDPOINT, replace(REQUEST, messages=(Message.of("user", "y"),))),
    "role": lambda: cache_key(ENDPOINT, replace(REQUEST, messages=(Message.of("system", "y"),))),
    "identity": lambda: cache_key(
        ENDPOINT, replace(REQUEST, messages=(Message(role="user", parts=(replace(FRAME, identity="fp2"),)),))
    ),
    "mime": lambda: cache_key(
        ENDPOINT, replace(REQUEST, messages=(Message(role="user", parts=(replace(FRAME, mime="video/mp4"),)),))
    ),
    "text like an identity": lambda: cache_key(
        ENDPOINT, replace(REQUEST, messages=(Message(role="user", parts=(Text(text=FRAME.identity),)),))
    ),
}


def test_what_is_a_miss() -> None:
    keys = [cache_key(ENDPOINT, REQUEST), *(make() for make in MISSES.values())]
    assert len(set(keys)) == len(keys)


@given(st.text(), st.text(), st.sampled_from(["m", "gpt"]))
def test_any_text_has_a_key_and_comes_back(text: str, identity: str, model: str) -> None:
    message = Message(role="user", parts=(Text(text=text + "\udc00"), replace(FRAME, identity=identity)))
    assert len(other(request=replace(REQUEST, messages=(message,)), model=model)) == 64


def test_answers_come_back_as_they_were_paid(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "cache", writer="w1", stage="caption")
    unpriced = replace(REPLY, usage=replace(REPLY.usage, cost_usd=None))
    journal.put(key_of(1), REPLY)
    journal.put(key_of(2), unpriced)
    again = Journal(tmp_path / "new" / "cache", writer="w2", stage="caption")
    for one in (journal, again):
        assert one.get(key_of(1)) == REPLY
        assert one.get(key_of(2)) == unpriced
        assert one.get(key_of(3)) is None
        assert one.keys() == {key_of(1), key_of(2)}
        assert len(one) == 2
    assert (tmp_path / "new" / "cache" / "caption-w1.jsonl").read_bytes().count(b"\n") == 2


def test_stages_are_apart(tmp_path: Path) -> None:
    Journal(tmp_path, writer="w", stage="ask").put(key_of(1), REPLY)
    assert not Journal(tmp_path, writer="w", stage="asks").keys()
    with pytest.raises(ValueError, match="named by"):
        Journal(tmp_path, writer="w", stage="ask-more")
    with pytest.raises(ValueError, match="named by"):
        Journal(tmp_path, writer="../w", stage="ask")


def test_answers_of_other_writers_are_found_while_they_write(tmp_path: Path) -> None:
    one, two = (Journal(tmp_path, writer=name, stage="ask") for name in ("one", "two"))
    for n in range(6):
        (one, two)[n % 2].put(key_of(n), replace(REPLY, text=f"answer {n}"))
    for journal in (one, two):
        replies = [journal.get(key_of(n)) for n in range(6)]
        assert [reply.text for reply in replies if isinstance(reply, ChatReply)] == [f"answer {n}" for n in range(6)]


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_torn_tail_costs_one_answer_and_no_other(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path, writer="w", stage="ask")
    for n in range(3):
        journal.put(key_of(n), replace(REPLY, text="long " * 60))
    segment = tmp_path / "ask-w.jsonl"
    segment.write_bytes(segment.read_bytes()[:-cut])
    again = Journal(tmp_path, writer="w", stage="ask")
    assert again.keys() == {key_of(0), key_of(1)}
    again.put(key_of(3), REPLY)  # must not become a part of the torn line
    third = Journal(tmp_path, writer="x", stage="ask")
    torn_line_is_whole = cut == 1  # only the line's end was missing
    assert third.keys() == {key_of(n) for n in (0, 1, 3)} | ({key_of(2)} if torn_line_is_whole else set())
    assert third.corrupt_lines == (0 if torn_line_is_whole else 1)
    assert third.get(key_of(3)) == REPLY


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\x00\x00",
        b"not json",
        b"[]",
        b'{"key": "zz"}',
        b'{"key":"00","text":"x","model":"m","input_tokens":1,"output_tokens":1,"cost_usd":null}',
        b'{"key":"' + b"0" * 64 + b'","text":"","model":"m","input_tokens":1,"output_tokens":1,"cost_usd":null}',
        b'{"key":"' + b"0" * 64 + b'","text":null,"model":"m","input_tokens":1,"output_tokens":1,"cost_usd":null}',
        b"\xff\xfe",
    ],
)
def test_a_line_that_cannot_be_read_is_skipped_and_counted(tmp_path: Path, line: bytes) -> None:
    journal = Journal(tmp_path, writer="w", stage="ask")
    journal.put(key_of(1), REPLY)
    with (tmp_path / "ask-w.jsonl").open("ab") as file:
        file.write(line + b"\n")
    journal.put(key_of(2), REPLY)
    again = Journal(tmp_path, writer="w", stage="ask")
    assert again.keys() == {key_of(1), key_of(2)}
    assert again.get(key_of(2)) == REPLY
    assert again.corrupt_lines == 1
    assert journal.get(key_of(2)) == REPLY


def test_an_answer_outlives_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from lvqa_ray.llm.journal import Journal;"
        "from lvqa_ray.llm.messages import ChatReply; from lvqa_ray.records import Usage;"
        "Journal(Path(sys.argv[1]), writer='w', stage='ask')"
        ".put('0' * 64, ChatReply(text='x', model='m', usage=Usage()))"
        ";"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert Journal(tmp_path, writer="w", stage="ask").keys() == {"0" * 64}


def test_a_segment_that_is_gone_is_a_miss(tmp_path: Path) -> None:
    journal = Journal(tmp_path, writer="w", stage="ask")
    journal.put(key_of(1), REPLY)
    (tmp_path / "ask-w.jsonl").unlink()
    assert journal.get(key_of(1)) is None


def test_an_answer_that_cannot_be_read_now_is_not_taken_for_a_miss(tmp_path: Path) -> None:
    journal = Journal(tmp_path, writer="w", stage="ask")
    journal.put(key_of(1), REPLY)
    (tmp_path / "ask-w.jsonl").rename(tmp_path / "kept")
    (tmp_path / "ask-w.jsonl").mkdir()
    with pytest.raises(OSError, match="directory"):
        journal.get(key_of(1))
    (tmp_path / "ask-w.jsonl").rmdir()
    (tmp_path / "kept").rename(tmp_path / "ask-w.jsonl")
    assert journal.get(key_of(1)) == REPLY


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


def cached_over(inner: Counting, folder: Path) -> Cached:
    return Cached(inner, Journal(folder, writer="w", stage="ask"), partial(cache_key, ENDPOINT))


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

        def get(self, _key: str) -> ChatReply | None:
            return None

        def put(self, _key: str, _reply: ChatReply | errors.ApiError, _model: str = "") -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        async def kept(self) -> None:
            raise AssertionError

    async def run() -> None:
        cached = Cached(inner, Full(), partial(cache_key, ENDPOINT))
        for n in range(3):
            with pytest.raises(errors.StopRun, match="No space left"):
                await cached(replace(REQUEST, attempt=n))

    asyncio.run(run())
    assert inner.calls == 1


def test_a_request_that_waited_while_the_disk_filled_up_is_not_sent(tmp_path: Path) -> None:
    inner = Counting()
    folder = tmp_path / "journal"
    journal = Journal(folder, writer="w", stage="ask")
    noted = Noted(inner, journal, partial(cache_key, ENDPOINT), "m")
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
        cached = Cached(transport, Journal(tmp_path, writer="w", stage="ask"), partial(cache_key, endpoint))
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


def test_a_line_is_plain_json(tmp_path: Path) -> None:
    begun = time.time()
    Journal(tmp_path, writer="w", stage="ask").put(key_of(1), replace(REPLY, seconds=1.5))
    said = json.loads((tmp_path / "ask-w.jsonl").read_text())
    assert begun - 1 <= said.pop("at") <= time.time() + 1
    assert said == {
        "key": key_of(1), "text": REPLY.text, "model": "m", "input_tokens": 5, "output_tokens": 7, "cost_usd": 0.25,
        "s": 1.5,
    }  # fmt: skip
    line = (tmp_path / "ask-w.jsonl").read_bytes()
    older = json.dumps({key: value for key, value in json.loads(line).items() if key not in {"at", "s"}}).encode()
    assert [(entry.reply, entry.seconds) for entry in map(entry_of, (line, older)) if entry] == [
        (REPLY, 1.5),
        (REPLY, 0.0),
    ]


UNUSABLE = [Fault.LENGTH, Fault.CONTENT_FILTER, Fault.REFUSAL]


class Line:
    """A client path over HTTP, made anew each time, as a later run makes it."""

    def __init__(self, fake: FakeEndpoint, folder: Path, writer: str, *, ask_again: bool = False) -> None:
        endpoint = Endpoint(base_url=fake.base_url, model="m", price_in=1, price_out=1)
        key_of = partial(cache_key, endpoint)
        journal = Journal(folder, writer=writer, stage="ask")
        self.wire = OpenAITransport(endpoint, SecretStr(""))
        retrying = Retrying(Noted(self.wire, journal, key_of, "m"), 6, base_s=0.001)
        self.cached = Cached(retrying, journal, key_of, ask_again=ask_again)

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
        upkeep.compact(tmp_path)
        again = Line(fake, tmp_path, "99990101T000000Z_a", ask_again=True)
        both = again.ask(REQUEST, stale)
        assert [reply.text for reply in both if isinstance(reply, ChatReply)] == ["of no use", "better"]
        for _ in range(2):
            (kept,) = Line(fake, tmp_path, "99990102T000000Z_a").ask(REQUEST)
            assert isinstance(kept, ChatReply)
            assert (kept.text, kept.usage.cached) == ("better", 1)
            upkeep.compact(tmp_path)
        assert len(fake.requests) == 2


@pytest.mark.parametrize("fault", [Fault.NULL_CONTENT, Fault.EMPTY_CHOICES])
def test_a_reply_that_may_do_better_is_on_the_bill_and_asked_again(tmp_path: Path, fault: Fault) -> None:
    with FakeEndpoint() as fake:
        fake.fail_next(fault, times=4)
        (first,) = Line(fake, tmp_path, "one").ask(REQUEST)
        assert isinstance(first, errors.MalformedReply)
        assert (first.attempts, len(fake.requests)) == (4, 4)
        (second,) = Line(fake, tmp_path, "two").ask(REQUEST)
        assert isinstance(second, ChatReply)
        assert second.usage.cached == 0
    journal = Journal(tmp_path, writer="three", stage="ask")
    assert (len(journal), journal.corrupt_lines) == (1, 0)
    assert len((tmp_path / "ask-one.jsonl").read_bytes().splitlines()) == 4


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
