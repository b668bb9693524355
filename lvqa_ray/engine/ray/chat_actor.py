"""Ray actors that run chat steps: they send the requests to the endpoints."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from lvqa_ray.engine.bundle_runner import BundleRunner
from lvqa_ray.engine.ray.batch_actor import RayQueue
from lvqa_ray.engine.ray.budget_actor import RayBudget
from lvqa_ray.engine.ray.clip_assembler import ClipAssembler
from lvqa_ray.engine.ray.endpoints import EndpointHandle, Lines
from lvqa_ray.engine.ray.metrics import CountCalls
from lvqa_ray.engine.ray.rate_limit_actor import RateLimiter
from lvqa_ray.engine.ray.session.detach import worker_without_terminal
from lvqa_ray.engine.row_codec import Packed
from lvqa_ray.engine.step_runner import StopSteps, run_step
from lvqa_ray.errors import Deferred, StopRun
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.batches.batch_api import BatchApi
from lvqa_ray.llm.batches.batched_chat import BatchRoute
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.llm.middleware.cache import cannot_be
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.middleware.leader import WarmPrefixes
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.transport.transcriptions import wire
from lvqa_ray.records import CaptionedClip, Row
from lvqa_ray.stage import Chat, Prompted
from lvqa_ray.stage.steps import ChatStep, PlainStep, run_steps
from lvqa_ray.storage.paths import StoragePath


class ChatActor:
    """Runs a group of steps, most of which call endpoints; many rows run concurrently on one event loop.

    Args:
        steps: The steps in order.
        lines: The endpoints of every role.
        journal: Folder of the journal of paid replies.
        run_id: Id of the run, part of the names of its journal segments.
        most: Maximum number of rows at work in this process.
    """

    def __init__(
        self, steps: Sequence[ChatStep | PlainStep], lines: Lines, journal: StoragePath, run_id: str, most: int
    ) -> None:
        worker_without_terminal()
        writer = f"{run_id}_{uuid.uuid4().hex[:8]}"
        self._steps = steps
        self._lines = lines
        self._bundles = BundleRunner(self.through, most)
        # One pool per rate limiter, shared by all stages that use it.
        lease_pools = {line.rate_limiter: LeasePool(line.rate_limiter) for line in chain.from_iterable(lines.values())}
        prefixes = WarmPrefixes()
        self._chats = {
            stage.name: _chat(stage, lines[stage.role], lease_pools, journal, writer, prefixes=prefixes)
            for step in steps
            if isinstance(step, ChatStep)
            for stage in (step.stage, *step.helpers)
        }

    def __call__(self, packed: Packed) -> Iterator[Packed]:
        """Run the steps on each row of a bundle; see `BundleRunner`. Rows whose run has halted give nothing."""
        return self._bundles.run(packed)

    async def through(self, row: Row) -> Sequence[Row]:
        """Run the steps on a row; gives nothing if the run has halted, so that a later run processes the row."""
        return await run_steps(self._steps, [row], self._answer)

    async def _answer(self, step: ChatStep | PlainStep, row: Row) -> Sequence[Row]:
        roles = step.roles if isinstance(step, ChatStep) else ()
        chat = _Halting(self._chats, [line.rate_limiter for role in roles for line in self._lines[role]])
        try:
            rows = await run_step(step, row, chat)
        except StopSteps:  # the row waits for a file batch: it has no outcome in this pass
            return []
        return [] if chat.halted else rows


class VideoChatActor(ChatActor):
    """All chat steps in one process, from the captions of clips to the questions about their videos.

    Its pool has one actor, because it collects the captions of each video. If it dies, the videos in progress have no
    outcome in this pass, and the next pass finds their replies in the journal.

    Args:
        lines: The endpoints of every role.
        journal: Folder of the journal of paid replies.
        run_id: Id of the run, part of the names of its journal segments.
        most: Maximum number of rows at work.
        caption: The steps for clips.
        merge: Makes the rows of a video from its captioned clips.
        ask: The steps for videos.
    """

    def __init__(
        self,
        lines: Lines,
        journal: StoragePath,
        run_id: str,
        most: int,
        *,
        caption: Sequence[ChatStep],
        merge: Callable[[Sequence[CaptionedClip]], Iterable[Row]],
        ask: Sequence[ChatStep | PlainStep],
    ) -> None:
        super().__init__([*caption, *ask], lines, journal, run_id, most)
        self._caption, self._ask = caption, ask
        self._assembler = ClipAssembler(merge)

    async def through(self, row: Row) -> Sequence[Row]:
        """Run the steps on a clip; the last clip of a video brings the video's rows."""
        done: list[Row] = []
        for captioned in await run_steps(self._caption, [row], self._answer):
            for made in self._assembler.take(captioned):
                done += await run_steps(self._ask, [made], self._answer)
        return done


class _Halting:
    """Sends each request to the client of its stage; records whether the run halted, so that the row gets no outcome.

    It also halts the rate limiters: a cause found in this process, such as a full disk, must stop all other workers.
    """

    def __init__(self, chats: Mapping[str, Chat], rate_limiters: Sequence[RateLimiter]) -> None:
        self._chats = chats
        self._rate_limiters = rate_limiters
        self.halted = False

    async def __call__(self, request: ChatRequest) -> ChatReply:
        try:
            return await self._chats[request.stage](request)
        except Deferred as deferred:
            raise StopSteps from deferred
        except StopRun as stop:
            self.halted = True
            for rate_limiter in self._rate_limiters:
                await rate_limiter.halt(str(stop))
            raise


class _Unreadable:
    """Client of a stage whose journal is unreadable: it halts the run, which would otherwise pay for replies again."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def __call__(self, request: ChatRequest) -> ChatReply:  # noqa: ARG002 - the interface
        raise StopRun(self._why)


def _route(line: EndpointHandle, stage: Prompted, lease_pools: Mapping[RateLimiter, LeasePool]) -> EndpointRoute:
    transport = CountCalls(wire(line.endpoint, line.api_key, sound=stage.role == "speech"), stage.name)
    budget = None if line.budget is None else RayBudget(line.budget)
    batches = None
    if line.queue is not None and stage.role != "speech":
        api, collects = BatchApi(line.endpoint, line.api_key), line.endpoint.tier == "batch"
        batches = BatchRoute(line.endpoint, api, RayQueue(line.queue), collects=collects)
    return EndpointRoute(line.endpoint, transport, lease_pools[line.rate_limiter], budget, batches)


def _chat(
    stage: Prompted,
    lines: Sequence[EndpointHandle],
    lease_pools: Mapping[RateLimiter, LeasePool],
    journal: StoragePath,
    writer: str,
    *,
    prefixes: WarmPrefixes,
) -> Chat:
    try:
        answers = JournalReplyStore(open_segments(journal), writer=writer, stage=stage.name)
    except OSError as error:  # an actor that raises here would be restarted again and again
        return _Unreadable(cannot_be("read", error))
    routes = [_route(line, stage, lease_pools) for line in lines]
    return build_client(routes, answers, ask_again=lines[0].retry_failures, prefixes=prefixes)
