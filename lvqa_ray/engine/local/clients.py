"""Clients of the endpoints for one process that sends requests itself, without a cluster."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import SecretStr

from lvqa_ray.config import Job
from lvqa_ray.engine.local.local_batches import LocalBatches
from lvqa_ray.errors import StopRun
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.middleware.budget import Budget, LocalBudget
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.middleware.leader import WarmPrefixes
from lvqa_ray.llm.ratelimit.daily_quota import DailyQuota
from lvqa_ray.llm.ratelimit.endpoint_stats import CountingLeaseServer, EndpointStats
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Shared, SharedBy, shared, shared_by
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.llm.transport.transcriptions import wire
from lvqa_ray.stage import Chat, Prompted, Role
from lvqa_ray.storage.paths import StoragePath

IN_FLIGHT_POLL_S = 0.02


@dataclass(slots=True)
class _Gate:
    limiter: Limiter
    server: CountingLeaseServer
    leases: LeasePool


class LocalClients:
    """Clients by stage, which share the limits of their endpoints, the journals and the budget.

    If an endpoint has halted (its key was refused, or it was down for too long), the next call of `of` may make a new
    limiter: a service must recover from an outage.

    Args:
        job: Gives the endpoints; ``engine.max_cost`` and ``max_requests`` limit all requests of these clients.
        folder: Folder of the journal of paid replies.
        run_id: Id in the names of the journal segments.
        revive: Whether to make a new limiter after a halt, and to wait for the answers of file batches, as a service
            does; a run defers these requests to a later pass.

    Raises:
        ConfigError: The environment variable of a key is not set.
    """

    def __init__(self, job: Job, folder: StoragePath, run_id: str, *, revive: bool = True) -> None:
        engine = job.engine
        self._revive = revive
        bounded = engine.max_cost is not None or engine.max_requests is not None
        self._budget = Budget(engine.max_cost, engine.max_requests)
        self._run_budget = LocalBudget(self._budget) if bounded else None
        self._retry_failures = engine.retry_failures
        self._folder = folder
        self._writer = f"{run_id}_{uuid.uuid4().hex[:8]}"
        self._endpoints = job.endpoints
        self._known = [at for role in job.endpoints.roles for at in job.endpoints.endpoints_of(role)]
        self._keys = {at.api_key_env: at.api_key() for at in self._known}
        self._shared = shared((at, self._key(at)) for at in self._known)
        self._gates: dict[SharedBy, _Gate] = {}
        pairs = [(at, self._key(at)) for at in self._known]
        self.batches = LocalBatches(folder, run_id, engine.scratch_gb, self._run_budget, pairs, waits=revive)
        self._wires: dict[str, OpenAITransport] = {}
        self._journals: dict[str, JournalReplyStore] = {}
        self._prefixes = WarmPrefixes()
        self._opening = asyncio.Lock()
        self._chats: dict[tuple[str, ...], Chat] = {}

    @property
    def exhausted(self) -> str:
        """Why no more requests may be sent; empty while the budget lasts."""
        return self._budget.exhausted

    def journal(self, stage: str) -> JournalReplyStore:
        """The paid replies of a stage.

        Raises:
            OSError: The journal cannot be read.
        """
        if stage not in self._journals:
            self._journals[stage] = self._opened(stage)
        return self._journals[stage]

    async def open(self, stages: Iterable[Prompted]) -> None:
        """Read the journals of stages, in a thread, unless they are read already; errors as for `journal`."""
        async with self._opening:
            for stage in stages:
                if stage.name not in self._journals:
                    self._journals[stage.name] = await asyncio.to_thread(self._opened, stage.name)

    def of(self, stage: Prompted, endpoints: Sequence[Endpoint]) -> Chat:
        """The client of a stage for replicas of an endpoint; errors as for `journal`."""
        if self._revive and (halted := [at for at in endpoints if self._gate(at).limiter.halted]):
            for at in halted:
                self._gates.pop(self._name(at), None)
            self._chats.clear()
        if self._revive and self.batches.broken:
            self._chats.clear()
        key = (stage.name, *(at.model_dump_json() for at in endpoints))
        if key not in self._chats:
            sound = stage.role == "speech"
            routes = [
                EndpointRoute(
                    at,
                    self._wire(at, sound=sound),
                    self._gate(at).leases,
                    self._run_budget,
                    None if sound else self.batches.route(at, self._key(at)),
                )
                for at in endpoints
            ]
            self._chats[key] = build_client(
                routes, self.journal(stage.name), ask_again=self._retry_failures, prefixes=self._prefixes
            )
        return self._chats[key]

    def stats(self) -> dict[str, EndpointStats]:
        """The request counters of each endpoint by its label; roles may share one, and several keys are numbered."""
        found: dict[str, EndpointStats] = {}
        for at in {self._name(at): at for at in self._known}.values():
            same = sum(label.partition(" (")[0] == at.label for label in found)
            found[f"{at.label} ({same + 1})" if same else at.label] = self._gate(at).server.stats()
        return found

    def halt(self, reason: str, roles: Iterable[Role] | None = None) -> None:
        """Stop sending requests to the endpoints of some roles, by default all; those in flight still complete."""
        if roles is None:
            self.batches.halt()
        for role in self._endpoints.roles if roles is None else roles:
            for at in self._endpoints.endpoints_of(role):
                self._gate(at).server.halt(StopRun(reason))

    def why_halted(self) -> str:
        """Why no more requests can be sent: all endpoints of one role have halted; else empty."""
        if self.batches.broken:
            return self.batches.broken
        for role in self._endpoints.roles:
            reasons = [self._gate(at).limiter.halted for at in self._endpoints.endpoints_of(role)]
            if all(reasons):
                return str(reasons[0])
        return ""

    async def drained(self) -> None:
        """Wait for requests in flight, at most for the longest timeout of an endpoint."""
        longest = max(at.attempt_timeout_s for at in self._known)
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                while any(gate.limiter.in_flight for gate in self._gates.values()):  # noqa: ASYNC110 - the limiter has no event
                    await asyncio.sleep(IN_FLIGHT_POLL_S)

    async def aclose(self) -> None:
        """Wait for requests in flight, and close the connections and the journals; open batches go on."""
        await asyncio.to_thread(self.batches.close)
        await self.drained()
        for each in self._wires.values():
            with suppress(OSError):
                await each.aclose()
        await asyncio.gather(*(asyncio.to_thread(journal.close) for journal in self._journals.values()))

    def _opened(self, stage: str) -> JournalReplyStore:
        return JournalReplyStore(open_segments(self._folder), writer=self._writer, stage=stage)

    def _name(self, at: Endpoint) -> SharedBy:
        return shared_by(at, self._key(at))

    def _key(self, at: Endpoint) -> SecretStr:
        return self._keys[at.api_key_env]

    def _wire(self, at: Endpoint, *, sound: bool) -> OpenAITransport:
        key = f"{sound} {at.model_dump_json()}"
        if key not in self._wires:
            self._wires[key] = wire(at, self._key(at), sound=sound)
        return self._wires[key]

    def _gate(self, at: Endpoint) -> _Gate:
        name = self._name(at)
        if name not in self._gates:
            group = self._shared.get(name) or Shared.of(at)
            day = DailyQuota(group.limits.requests_per_day, self._folder / group.day_file)
            limiter = Limiter(group.limits, day=day)
            server = CountingLeaseServer(limiter)
            self._gates[name] = _Gate(limiter, server, LeasePool(server))
        return self._gates[name]
