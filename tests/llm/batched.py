"""File batches without Ray: a queue, its runner, and the clients of stages, through passes like those of a run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lvqa_ray.engine.batching.batch_runner import BatchRunner
from lvqa_ray.engine.batching.request_files import BatchLine
from lvqa_ray.errors import ApiError, Deferred
from lvqa_ray.journal.batch_log import BatchLog, batches_folder, logged
from lvqa_ray.journal.costs import spent, total
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.batches.batch_api import BatchApi
from lvqa_ray.llm.batches.batch_queue import BatchQueue, LocalQueue
from lvqa_ray.llm.batches.batched_chat import BatchRoute
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message
from lvqa_ray.llm.middleware.budget import Budget, LocalBudget
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from tests.fakes.endpoint import FakeEndpoint

Outcome = ChatReply | ApiError
MOST_PASSES = 12
REQUESTS = 36
"""Requests of `main`."""


def request(text: str, stage: str = "caption", **fields: Any) -> ChatRequest:
    return ChatRequest(stage=stage, version="1", messages=(Message.of("user", text),), **fields)


def batched(fake: FakeEndpoint, **fields: Any) -> Endpoint:
    prices = {"price_in": fake.ledger.prices[0], "price_out": fake.ledger.prices[1]}
    quick = {"batch_poll_s": 0.05, "batch_wait_s": 60, "backoff_base_s": 0.01, "tier": "batch"}
    given = {"base_url": fake.base_url, "model": "fake-llm", "api_key_env": None}
    return Endpoint.model_validate(given | prices | quick | fields)


class BatchRun:
    """One run: passes over requests until none is deferred.

    Args:
        folder: Folder of the journal and of the files.
        endpoint: The endpoint.
        run_id: Id of the run.
        budget: Its budget.
        key: Its API key.
        collects: Whether it puts requests into batches, or only waits for those of an earlier run.
    """

    def __init__(
        self,
        folder: Path,
        endpoint: Endpoint,
        run_id: str = "r1",
        budget: Budget | None = None,
        key: str = "",
        *,
        collects: bool = True,
    ) -> None:
        self.journal = folder / "cache"
        self.endpoint = endpoint
        self.run_id = run_id
        self.budget = None if budget is None else LocalBudget(budget)
        self.queue = LocalQueue(BatchQueue(endpoint, folder / f"files-{run_id}", 1e9))
        self.key = SecretStr(key)
        line = BatchLine(endpoint, BatchApi(endpoint, self.key), self.queue)
        self.runner = BatchRunner([line], BatchLog(self.journal, run_id), self.budget)
        self.passes = 0
        self.collects = collects

    def __enter__(self) -> BatchRun:
        self.runner.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.stop()

    def ask(self, requests: Sequence[ChatRequest]) -> list[Outcome]:
        """The outcomes of requests after as many passes as they take."""
        for _ in range(MOST_PASSES):
            outcomes = self.one_pass(requests)
            if not self.runner.wait(str):
                break
        assert not self.runner.broken, self.runner.broken
        return outcomes

    def one_pass(self, requests: Sequence[ChatRequest]) -> list[Outcome]:
        self.passes += 1
        return asyncio.run(self._all(requests))

    async def _all(self, requests: Sequence[ChatRequest]) -> list[Outcome]:
        api, wire = BatchApi(self.endpoint, self.key), OpenAITransport(self.endpoint, self.key)
        permits = LeasePool(LocalLeaseServer(Limiter(Limits.of(self.endpoint))))
        batches = BatchRoute(self.endpoint, api, self.queue, collects=self.collects)
        route = EndpointRoute(self.endpoint, wire, permits, self.budget, batches)
        writer = f"{self.run_id}_{self.passes}"
        chats = {
            stage: build_client([route], JournalReplyStore(self.journal, writer=writer, stage=stage))
            for stage in {each.stage for each in requests}
        }
        made = await asyncio.gather(*map(partial(_outcome, chats), requests))
        await wire.aclose()
        return made


async def _outcome(chats: Any, asked: ChatRequest) -> Outcome:
    try:
        reply: ChatReply = await chats[asked.stage](asked)
    except ApiError as error:
        return error
    return reply


def main(base_url: str, folder: str, run_id: str) -> None:
    """A run in a process of its own, to be killed: three rounds, of which each asks about the answers of the last."""
    endpoint = Endpoint.model_validate(
        {
            "base_url": base_url,
            "model": "fake-llm",
            "api_key_env": None,
            "price_in": 1.0,
            "price_out": 4.0,
            "tier": "batch",
            "batch_poll_s": 0.05,
            "batch_requests": 5,
        }
    )
    print("begins", flush=True)  # noqa: T201 - the parent waits for it
    texts, done = [f"What is {number}?" for number in range(REQUESTS // 3)], 0
    with BatchRun(Path(folder), endpoint, run_id) as run:
        for _ in range(3):
            outcomes = run.ask([request(text) for text in texts])
            replies = [outcome.text for outcome in outcomes if isinstance(outcome, ChatReply)]
            done += len(replies)
            texts = [f"After {text}: {reply}" for text, reply in zip(texts, replies, strict=True)]
    print(done)  # noqa: T201


def answers(outcomes: Sequence[Outcome]) -> int:
    return sum(isinstance(outcome, ChatReply) for outcome in outcomes)


def deferred(outcomes: Sequence[Outcome]) -> int:
    return sum(isinstance(outcome, Deferred) for outcome in outcomes)


if __name__ == "__main__":
    main(*sys.argv[1:])


def billed(folder: Path, run_id: str = "r1") -> float:
    """Dollars of a run, by its journal."""
    models = spent(open_segments(folder / "cache"), run_id).values()
    return total(line for lines in models for line in lines.values()).cost_usd or 0.0


def statuses(folder: Path) -> list[str]:
    """The last known status of each logged batch."""
    return [batch.status for batch in logged(open_segments(batches_folder(folder / "cache")))]


ASKED = [request(f"What is {number}?", stage="caption" if number % 2 else "ask") for number in range(12)]
