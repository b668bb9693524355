"""The ways to the endpoints for one process that asks them itself, without a cluster."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import SecretStr

from lvqa_ray.config import Job
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.middleware.budget import Budget, LocalBudget
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.ratelimit.daily_quota import DailyQuota
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.llm.transport.transcriptions import wire
from lvqa_ray.stage import Chat, Prompted
from lvqa_ray.storage.paths import StoragePath

LOOK_EVERY_S = 0.02
Name = tuple[str, str, str]
"""What requests are limited together by: base URL, key and model."""


@dataclass(slots=True)
class _Gate:
    limiter: Limiter
    permits: LeasePool


class LocalClients:
    """Chats by stage, which share the limits of their endpoints, the journals and the budget.

    An endpoint that has stopped for good (its key is refused, it has been down for too long) is tried again by whoever
    asks for a chat later: what this process serves outlives such a day.

    Args:
        job: Names the endpoints; ``engine.max_cost`` and ``max_requests`` bound all that is asked through this.
        folder: The journal of paid answers.
        run_id: Names the segments that are written.

    Raises:
        ConfigError: The variable of a key is not set.
    """

    def __init__(self, job: Job, folder: StoragePath, run_id: str) -> None:
        engine = job.engine
        bounded = engine.max_cost is not None or engine.max_requests is not None
        self._budget = Budget(engine.max_cost, engine.max_requests)
        self._purse = LocalBudget(self._budget) if bounded else None
        self._retry_failures = engine.retry_failures
        self._folder = folder
        self._writer = f"{run_id}_{uuid.uuid4().hex[:8]}"
        self._known = [at for role in job.endpoints.roles for at in job.endpoints.replicas(role)]
        self._keys = {at.api_key_env: at.api_key() for at in self._known}
        self._gates: dict[Name, _Gate] = {}
        self._wires: dict[str, OpenAITransport] = {}
        self._journals: dict[str, JournalReplyStore] = {}
        self._opening = asyncio.Lock()
        self._chats: dict[tuple[str, ...], Chat] = {}

    @property
    def exhausted(self) -> str:
        """Why nothing more may be asked; empty while the budget lasts."""
        return self._budget.exhausted

    def journal(self, stage: str) -> JournalReplyStore:
        """The answers to a stage.

        Raises:
            OSError: It cannot be read.
        """
        if stage not in self._journals:
            self._journals[stage] = self._opened(stage)
        return self._journals[stage]

    async def open(self, stages: Iterable[Prompted]) -> None:
        """Read the answers to stages that are not read yet: by a thread, since they may be many; errors as above."""
        async with self._opening:
            for stage in stages:
                if stage.name not in self._journals:
                    self._journals[stage.name] = await asyncio.to_thread(self._opened, stage.name)

    def of(self, stage: Prompted, endpoints: Sequence[Endpoint]) -> Chat:
        """What a stage asks some endpoints by, which answer alike; errors as above."""
        if halted := [at for at in endpoints if self._gate(at).limiter.halted]:
            for at in halted:
                self._gates.pop(self._name(at), None)
            self._chats.clear()
        which = (stage.name, *(at.model_dump_json() for at in endpoints))
        if which not in self._chats:
            sound = stage.role == "speech"
            ways = [
                EndpointRoute(at, self._wire(at, sound=sound), self._gate(at).permits, self._purse) for at in endpoints
            ]
            self._chats[which] = build_client(ways, self.journal(stage.name), ask_again=self._retry_failures)
        return self._chats[which]

    async def aclose(self) -> None:
        """Wait for the answers that are being paid for, and close the connections and the journals."""
        longest = max(at.timeout_s for at in self._known)
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                while any(gate.limiter.in_flight for gate in self._gates.values()):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(LOOK_EVERY_S)
        for each in self._wires.values():
            with suppress(OSError):
                await each.aclose()
        await asyncio.gather(*(asyncio.to_thread(journal.close) for journal in self._journals.values()))

    def _opened(self, stage: str) -> JournalReplyStore:
        return JournalReplyStore(open_segments(self._folder), writer=self._writer, stage=stage)

    def _name(self, at: Endpoint) -> Name:
        return at.base_url, self._key(at).get_secret_value(), at.model

    def _key(self, at: Endpoint) -> SecretStr:
        return self._keys[at.api_key_env]

    def _wire(self, at: Endpoint, *, sound: bool) -> OpenAITransport:
        which = f"{sound} {at.model_dump_json()}"
        if which not in self._wires:
            self._wires[which] = wire(at, self._key(at), sound=sound)
        return self._wires[which]

    def _gate(self, at: Endpoint) -> _Gate:
        name = self._name(at)
        if name not in self._gates:
            limits = Limits.of(*([known for known in self._known if self._name(known) == name] or [at]))
            public = f"{at.base_url} {at.api_key_env} {at.model}"  # nothing made of the key
            day = self._folder / f"requests-{hashlib.sha256(public.encode()).hexdigest()[:16]}.json"
            limiter = Limiter(limits, day=DailyQuota(limits.requests_per_day, day))
            self._gates[name] = _Gate(limiter, LeasePool(LocalLeaseServer(limiter)))
        return self._gates[name]
