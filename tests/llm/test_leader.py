"""Requests that share a prompt prefix: one goes first, the others hit the endpoint's prompt cache."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lvqa_ray.errors import ApiError
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Message, ReplySchema, Text
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.middleware.leader import PREFIX_TTL_S, LeaderFirst, WarmPrefixes, goes_first
from lvqa_ray.llm.middleware.rate_limit import Replica, _rank
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.shared_prefix import LEAST_PREFIX_TOKENS, shared_prefix
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.records import Usage
from tests.fakes.endpoint import FakeEndpoint, Fault, Status
from tests.fakes.prefix_cache import BLOCK_TOKENS, PrefixCache

CAPTIONS = "\n".join(f"From {n} to {n + 1}, " + f"thing number {n} is seen " * 8 for n in range(60))
WORDS = len(CAPTIONS.split())


def about(video: str, question: int, **fields: Any) -> ChatRequest:
    captions = f"{video}\n{CAPTIONS}"
    messages = (Message.of("system", "Be exact."), Message.of("user", f"Seen:\n\n{captions}\n\nQuestion {question}?"))
    return ChatRequest(
        stage="solve", version="1", messages=messages, prefix=shared_prefix(messages, captions), **fields
    )


def at(fake: FakeEndpoint, **fields: Any) -> Endpoint:
    prices = {"price_in": 1.0, "price_out": 4.0, "price_cached": 0.1}
    given = {"base_url": fake.base_url, "model": "m", "api_key_env": None, "max_attempts": 1, "max_concurrency": 64}
    return Endpoint.model_validate(given | prices | fields)


def ask(folder: Path, endpoints: list[Endpoint], requests: list[ChatRequest]) -> list[ChatReply | BaseException]:
    async def all_of_them() -> list[ChatReply | BaseException]:
        wires = [OpenAITransport(endpoint, SecretStr("")) for endpoint in endpoints]
        routes = [
            EndpointRoute(endpoint, wire, LeasePool(LocalLeaseServer(Limiter(Limits.of(endpoint)))))
            for endpoint, wire in zip(endpoints, wires, strict=True)
        ]
        chat = build_client(routes, JournalReplyStore(folder, writer="w", stage="solve"))
        made = await asyncio.gather(*map(chat, requests), return_exceptions=True)
        for wire in wires:
            await wire.aclose()
        return made

    return asyncio.run(all_of_them())


def usage(replies: list[ChatReply | BaseException]) -> Usage:
    return sum((reply.usage for reply in replies if isinstance(reply, ChatReply)), Usage())


@pytest.mark.parametrize("leader_first", [None, False])
def test_the_first_of_a_video_goes_alone_and_the_others_hit_the_cache(
    tmp_path: Path, leader_first: bool | None
) -> None:
    with FakeEndpoint(prefix_cache=PrefixCache(), price_cached=0.1) as fake:
        fake.hold = lambda _: leader_first is False and fake.asked < 8
        asked = [about(f"v{n % 3}", n) for n in range(18)]
        used = usage(ask(tmp_path, [at(fake, leader_first=leader_first)], asked))
        blocks = (WORDS + 4) // BLOCK_TOKENS * BLOCK_TOKENS
        assert used.cached_tokens == fake.tokens_cached
        assert used.cost_usd == pytest.approx(fake.ledger.usd, rel=1e-12)
        first = [
            asked.body["messages"][1]["content"].split()[1] for asked in sorted(fake.requests, key=lambda one: one.at)
        ]
        if leader_first is False:
            assert fake.tokens_cached <= 10 * blocks, "the first eight are sent at once"
        else:
            assert fake.tokens_cached == 15 * blocks
            assert set(first[:3]) == {"v0", "v1", "v2"}, "each video waits for its own leader only"


@pytest.mark.parametrize("tier", ["standard", "flex", "batch_chat"])
def test_the_bill_is_the_ledgers_on_each_tier(tmp_path: Path, tier: str) -> None:
    with FakeEndpoint(latency_s=0.02, prefix_cache=PrefixCache(), price_cached=0.1) as fake:
        fake.tier = "batch_chat" if tier == "batch_chat" else "standard"
        used = usage(
            ask(tmp_path, [at(fake, tier=tier, leader_first=True)], [about(f"v{n % 3}", n) for n in range(12)])
        )
        assert fake.ledger.replies[tier] == 12
        assert used.hit_share is not None
        assert used.hit_share > 0.5
        assert used.cost_usd == pytest.approx(fake.ledger.usd, rel=1e-12)


def test_if_the_leader_fails_the_others_go_at_once(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.fail_next(Status(400))
        fake.hold = lambda _: fake.asked > 1 and fake.most_in_flight < 4
        replies = ask(tmp_path, [at(fake)], [about("v", n) for n in range(5)])
        assert Counter(isinstance(reply, ApiError) for reply in replies) == {True: 1, False: 4}
        assert fake.most_in_flight == 4


def test_requests_without_a_prefix_wait_for_nothing(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.hold = lambda _: fake.most_in_flight < 6
        ask(tmp_path, [at(fake)], [replace(about("v", n), prefix="") for n in range(6)])
        assert fake.most_in_flight == 6


def test_a_prefix_stays_warm_for_a_while_also_for_other_stages() -> None:
    now, sent = [0.0], []
    prefixes = WarmPrefixes(clock=lambda: now[0])
    release = asyncio.Event()

    async def call(request: ChatRequest) -> ChatReply:
        sent.append(request)
        await release.wait()
        return ChatReply(text="x", model="m", usage=Usage())

    async def run() -> list[int]:
        endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m")
        solve, judge = LeaderFirst(call, endpoint, prefixes), LeaderFirst(call, endpoint, prefixes)
        other = LeaderFirst(call, endpoint.model_copy(update={"model": "n"}), prefixes)
        counts = []

        async def wave(*calls: Any) -> None:
            sent.clear()
            release.clear()
            tasks = [asyncio.create_task(each) for each in calls]
            for _ in range(50):  # turns of the loop, and not seconds: nothing here waits for anything else
                await asyncio.sleep(0)
            counts.append(len(sent))
            release.set()
            await asyncio.gather(*tasks)

        await wave(solve(about("v", 1)), judge(about("v", 2)))  # one leads
        await wave(solve(about("v", 3)), judge(about("v", 4)))  # warm
        await wave(other(about("v", 3)), other(about("v", 4)))  # another model: one leads
        schema = ReplySchema(name="s", schema={})
        await wave(*(solve(about("v", n, reply_schema=schema)) for n in (5, 6)))  # another prefix: one leads
        now[0] += PREFIX_TTL_S
        await wave(solve(about("v", 7)), judge(about("v", 8)))  # cold again: one leads
        return counts

    assert asyncio.run(run()) == [1, 2, 1, 1, 1]


def test_a_cancelled_leader_blocks_nobody() -> None:
    async def run() -> None:
        prefixes, hang = WarmPrefixes(), asyncio.Event()

        async def call(request: ChatRequest) -> ChatReply:
            if request.attempt:
                await hang.wait()
            return ChatReply(text="x", model="m", usage=Usage())

        chat = LeaderFirst(call, Endpoint(base_url="http://127.0.0.1:1/v1", model="m"), prefixes)
        leader = asyncio.create_task(chat(about("v", 1, attempt=1)))
        await asyncio.sleep(0)
        others = [asyncio.create_task(chat(about("v", n))) for n in range(2, 5)]
        await asyncio.sleep(0)
        leader.cancel()
        async with asyncio.timeout(60):
            await asyncio.gather(*others)

    asyncio.run(run())


def test_a_video_stays_on_one_replica(tmp_path: Path) -> None:
    with ExitStack() as stack:
        fakes = [stack.enter_context(FakeEndpoint(latency_s=0.02, prefix_cache=PrefixCache())) for _ in range(3)]
        asked = [about(f"v{video}", n) for n in range(4) for video in range(24)]
        replies = ask(tmp_path, [at(fake) for fake in fakes], asked)
        places = [{body["messages"][1]["content"].split()[1] for body in bodies(fake)} for fake in fakes]
        assert sum(map(len, places)) == len(set.union(*places)) == 24, "no video is at two"
        assert min(map(len, places)) >= 2, "they are spread"
        hit = usage(replies).hit_share
        assert hit is not None
        assert hit > 0.7


def test_a_replica_that_is_full_gives_its_videos_away(tmp_path: Path) -> None:
    with ExitStack() as stack:
        fakes = [stack.enter_context(FakeEndpoint(latency_s=0.3)) for _ in range(2)]
        slow = [at(fake, max_concurrency=2, leader_first=False) for fake in fakes]
        ask(tmp_path, slow, [about("v", n) for n in range(12)])
        assert min(fake.asked for fake in fakes) >= 3, "all are about one video, and nobody waits for a minute"


def test_replicas_get_videos_in_proportion_to_their_places() -> None:
    async def nothing(request: ChatRequest) -> ChatReply:
        raise AssertionError(request)

    pools = [LeasePool(LocalLeaseServer(Limiter(Limits.of(Endpoint(base_url="http://h/v1", model="m")))))] * 2
    small, large = (
        Replica(nothing, pool, name, places) for pool, name, places in zip(pools, "ab", (10, 90), strict=True)
    )
    first = Counter(min((small, large), key=lambda each: _rank(f"v{n}", each)).name for n in range(5000))
    assert 400 < first["a"] < 600


def bodies(fake: FakeEndpoint) -> list[dict[str, Any]]:
    return [request.body for request in fake.requests]


def test_where_a_leader_goes_first() -> None:
    def first(**fields: Any) -> bool:
        return goes_first(Endpoint.model_validate({"base_url": "https://api.openai.com/v1", "model": "gpt-5"} | fields))

    assert first()
    assert first(tier="flex")
    assert not first(tier="batch"), "a leader would take hours"
    assert not first(tier="batch", leader_first=True)
    assert not first(leader_first=False)
    dashscope = {"base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1", "model": "qwen-plus"}
    assert first(**dashscope)
    assert not first(**dashscope, tier="batch_chat"), "no cache discount there"
    local = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    assert not first(**local)
    assert first(**local, leader_first=True)


def test_the_prefix_is_named_where_the_endpoint_knows_that_and_is_not_part_of_the_cache_key(tmp_path: Path) -> None:
    asked = about("v", 1)

    def body(**fields: Any) -> dict[str, Any]:
        given = {"base_url": "https://api.openai.com/v1", "model": "gpt-5"} | fields
        return OpenAITransport(Endpoint.model_validate(given), SecretStr(""))._body(asked)

    assert body()["prompt_cache_key"] == asked.prefix
    assert len(asked.prefix) == 32
    assert "prompt_cache_key" not in body(base_url="http://127.0.0.1:1/v1")
    assert "prompt_cache_key" not in body(prompt_cache_key=False)
    assert "prompt_cache_key" not in body(tier="batch")
    assert body(extra_body={"prompt_cache_key": "mine"})["prompt_cache_key"] == "mine"
    endpoint = Endpoint(base_url="https://api.openai.com/v1", model="gpt-5")
    assert cache_key(endpoint, asked) == cache_key(endpoint, replace(asked, prefix=""))
    with FakeEndpoint() as fake:
        fake.fail_next(Status(400, message="Unrecognized request argument supplied: prompt_cache_key"))
        replies = ask(tmp_path, [at(fake, prompt_cache_key=True)], [asked])
        assert isinstance(replies[0], ChatReply), "it is sent again without"
        assert ["prompt_cache_key" in body for body in bodies(fake)] == [True, False]


def test_a_prefix_ends_with_the_captions() -> None:
    one, two = about("v", 1), about("v", 2)
    assert one.prefix == two.prefix != about("w", 1).prefix
    long = "x" * 4 * LEAST_PREFIX_TOKENS
    user = Message.of("user", f"Seen: {long} What?")
    assert shared_prefix([user], long)
    assert shared_prefix([user], long) != shared_prefix([Message.of("system", "s"), user], long)
    assert not shared_prefix([user], None)
    assert not shared_prefix([user], f"{long}y"), "not in the prompt"
    assert not shared_prefix([Message.of("user", "short text")], "short"), "too short to be cached"
    picture = Media(identity="p", mime="image/jpeg", data=b"")
    assert not shared_prefix([Message(role="user", parts=(picture, Text(text=long)))], long)
    assert shared_prefix([Message(role="user", parts=(Text(text=long), picture))], long)


def test_the_fakes_cache_is_filled_by_finished_requests_and_forgets() -> None:
    now = [0.0]
    cache = PrefixCache(clock=lambda: now[0])
    words = " ".join(map(str, range(300)))
    body = {"model": "m", "messages": [{"role": "user", "content": words}]}
    longer = {"model": "m", "messages": [{"role": "user", "content": f"{words} and more " * 2}]}
    assert cache.read(body) == 0
    cache.fill(body)
    assert cache.read(body) == cache.read(longer) == 2 * BLOCK_TOKENS
    assert cache.read(body | {"model": "n"}) == 0
    assert cache.read({"model": "m", "messages": [{"role": "user", "content": f"x {words}"}]}) == 0
    now[0] += 299
    assert cache.read(body), "a use prolongs it"
    now[0] += 299
    assert cache.read(body)
    now[0] += 300
    assert not cache.read(body)


def test_a_fault_without_bill_fills_nothing(tmp_path: Path) -> None:
    with FakeEndpoint(prefix_cache=PrefixCache()) as fake:
        fake.fail_next(Fault.SERVER_ERROR)
        ask(tmp_path, [at(fake, leader_first=False)], [about("v", 1)])
        assert fake.prefix_cache is not None
        assert fake.prefix_cache.read(bodies(fake)[0]) == 0
