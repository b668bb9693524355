"""Fake chat endpoint: a real HTTP server on loopback with fault injection and request counters.

In a test::

    with FakeEndpoint(latency_s=0.1, faults={Fault.RATE_LIMIT: 0.1}) as fake:
        ...  # ask fake.base_url, from this process or from any other
        assert max(fake.paid.values()) == 1

By hand: ``python -m tests.fakes.endpoint --help``. All state is in the server's process; ``GET /fake/counts`` shows the
counters to others.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

from tests.fakes import answers, ears
from tests.fakes.batches import FileBatches
from tests.fakes.faults import PAID, Fault, RetryAfter, Status, rate_limited, spoil
from tests.fakes.ledger import Ledger
from tests.fakes.prefix_cache import PrefixCache
from tests.fakes.quota import Quota
from tests.fakes.refusals import no_flex, unfit_for
from tests.fakes.replies import completion, cut_off, drop, error, streamed
from tests.fakes.traffic import most_in_window, totals

__all__ = ["Asked", "FakeEndpoint", "Fault", "RetryAfter", "Status"]


@dataclass(frozen=True)
class Asked:
    """A received request: time (s, monotonic clock), content and outcome."""

    at: float
    body: dict[str, Any]
    headers: dict[str, str]
    outcome: str


PORT_TRIES = 50
HOLD_S = 60.0
"""Longest time that a reply is held; then it is sent, and what the test expects fails."""


class FakeEndpoint:
    """The server, in a thread. Tests may change its public attributes while it runs.

    Args:
        port: Port on loopback, 0 for a free one. It waits for a given one that is in use, for a few seconds.
        latency_s: Seconds before each answer.
        jitter_s: Upper bound of further seconds, drawn for each answer.
        seed: Random seed of faults and jitter.
        faults: Probability of each fault.
        slots: Concurrent requests; the others queue silently, as in a saturated vLLM.
        rpm: Requests per window; further requests get 429.
        tpm: Prompt and reply tokens per window; further requests get 429.
        window_s: Length of the sliding window (s).
        rate_headers: Whether replies have ``x-ratelimit-*`` headers.
        outages: Start (s after the first request) and length (s) of outages, in which connections are dropped.
        retry_after: Format of ``Retry-After`` in a 429, ``None`` for no header.
        api_key: The required key; ``None`` for any or none.
        models: The models that exist; ``None`` for any.
        context: Maximum prompt tokens of a request; ``None`` for no limit.
        answer: Returns the reply's text for a body, or ``None`` for the usual reply.
        keep_bodies: Whether `requests` keeps the bodies; ``False`` saves memory in a long run.
        sentences: Sentences that it recognizes in audio, with durations (s); see `tests.fakes.ears`.
        times: Whether transcriptions have times.
        flex: Share of the requests with ``service_tier: flex`` that are refused for lack of capacity; ``None`` if
            there is no such tier.
        prices: US dollars per million prompt and reply tokens on the standard tier, for the ledger.
        price_cached: The same for cached prompt tokens; ``None`` for no discount.
        prefix_cache: The prompt cache, whose hits replies report; ``None`` for none.
        stream_pause_s: Seconds between the events of a streamed reply; ``None`` for replies that are no streams.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        latency_s: float = 0.0,
        jitter_s: float = 0.0,
        seed: int = 0,
        faults: Mapping[Fault, float] | None = None,
        slots: int | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        window_s: float = 60.0,
        rate_headers: bool = False,
        outages: Sequence[tuple[float, float]] = (),
        retry_after: RetryAfter = "seconds",
        api_key: str | None = None,
        models: tuple[str, ...] | None = None,
        context: int | None = None,
        answer: Callable[[dict[str, Any]], str | None] | None = None,
        keep_bodies: bool = True,
        sentences: Mapping[str, float] | None = None,
        times: bool = True,
        flex: float | None = 0.0,
        prices: tuple[float, float] = (1.0, 4.0),
        price_cached: float | None = None,
        prefix_cache: PrefixCache | None = None,
        stream_pause_s: float | None = None,
    ) -> None:
        self.stream_pause_s = stream_pause_s
        self.latency_s = latency_s
        self.hold: Callable[[dict[str, Any]], bool] | None = None  # a reply waits while it is true of the body
        self.jitter_s = jitter_s
        self.faults = dict(faults or {})
        self.rpm = rpm
        self.tpm = tpm
        self.rate_headers = rate_headers
        self.outages = list(outages)
        self.retry_after: RetryAfter = retry_after
        self.api_key = api_key
        self.models = models
        self.context = context
        self.answer = answer
        self.keep_bodies = keep_bodies
        self.sentences = dict(sentences or {})
        self.times = times
        self.flex = flex
        self.tier = "standard"  # of requests that name none: "batch_chat" makes it DashScope's batch host
        self.ledger = Ledger(prices, price_cached)
        self.prefix_cache = prefix_cache
        self.tokens_cached = 0
        self.batches = FileBatches(self)
        self.requests: list[Asked] = []
        self.counts: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.undelivered = 0  # paid replies whose client had disconnected
        self.tokens_in = 0
        self.tokens_out = 0
        self.asked = 0  # includes hanging requests, which `counts` includes only at their end
        self.in_flight = 0
        self.most_in_flight = 0
        self._port = port
        self._rng = random.Random(seed)  # noqa: S311 - reproducible random numbers
        self._ordered: deque[Fault | Status] = deque()
        self._slots = asyncio.Semaphore(slots) if slots else None
        self._first_at: float | None = None
        self._requests = Quota(window_s)
        self._tokens = Quota(window_s)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="fake-endpoint", daemon=True)
        self._broken: BaseException | None = None

    @property
    def base_url(self) -> str:
        """Base URL for clients."""
        return f"http://127.0.0.1:{self._port}/v1"

    def fail_next(self, *faults: Fault | Status, times: int = 1) -> None:
        """Queue faults for the next requests; they precede random faults."""
        self._ordered.extend(list(faults) * times)

    def most_in_window(self, window_s: float = 60.0) -> int:
        """Maximum number of requests in any window, refused ones included."""
        return most_in_window((asked.at for asked in self.requests), window_s)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._broken is not None:
            raise self._broken
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as exc:  # the port is taken
            self._broken = exc
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/audio/transcriptions", self._chat)
        app.router.add_get("/fake/counts", self._show_counts)
        self.batches.add_routes(app.router)
        # Hanging requests must not outlive a test: no grace period at shutdown.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await runner.setup()
        for left in reversed(range(PORT_TRIES if self._port else 1)):
            try:
                await web.TCPSite(runner, "127.0.0.1", self._port).start()
                break
            except OSError:
                if not left:
                    await runner.cleanup()
                    raise
                await asyncio.sleep(0.1)
        self._port = runner.addresses[0][1]
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _show_counts(self, _: web.Request) -> web.Response:
        return web.json_response(totals(self))

    async def _list_models(self, request: web.Request) -> web.Response:
        refused = self._refused_key(request)
        if refused:
            return error(refused)
        ids = self.models or ("fake-vlm", "fake-llm")
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in ids]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        at = time.monotonic()
        self.asked += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        outcome = "dropped"  # stays if the client disconnects first
        body: dict[str, Any] = {}
        try:
            if self._is_down(at):
                outcome = "down"
                drop(request)
                return web.Response()
            body = await (ears.form(request) if request.path.endswith("/transcriptions") else request.json())
            fault = self._fault(request, body, at)
            cached = None if self.prefix_cache is None or "sound" in body else self.prefix_cache.read(body)
            outcome = "ok" if fault is None else str(fault.status) if isinstance(fault, Status) else fault.value
            async with self._slots or nullcontext():
                # The test that lets it go is in another thread.
                while (hold := self.hold) is not None and hold(body) and time.monotonic() < at + HOLD_S:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
                if self.latency_s or self.jitter_s:
                    await asyncio.sleep(self.latency_s + self._rng.random() * self.jitter_s)
            return await self._respond(request, body, fault, cached)
        except asyncio.CancelledError:
            outcome += " (client gone)"
            raise
        finally:
            self.in_flight -= 1
            self.counts[outcome] += 1
            self.requests.append(Asked(at, body if self.keep_bodies else {}, dict(request.headers), outcome))

    def _fault(self, request: web.Request, body: dict[str, Any], at: float) -> Fault | Status | None:
        refused = self._refused_key(request) or unfit_for(body, self.models, self.context, timed=self.times)
        if refused:
            return refused
        if body.get("service_tier") == "flex" and (full := no_flex(self.flex, self._rng.random)):
            return full
        if self._ordered:
            return self._ordered.popleft()
        limited = self._over_limit(body, at)
        if limited:
            return limited
        chance = self._rng.random()
        for fault, probability in self.faults.items():
            if chance < probability:
                return rate_limited(1.0, self.retry_after) if fault is Fault.RATE_LIMIT else fault
            chance -= probability
        return None

    def _refused_key(self, request: web.Request) -> Status | None:
        given = request.headers.get("Authorization", "")
        if self.api_key is None or given == f"Bearer {self.api_key}":
            return None
        # Real endpoints echo requests in errors: no secret of them may reach our logs.
        return Status(401, "invalid_api_key", "invalid_request_error", f"Incorrect API key provided: {given}.")

    def _is_down(self, at: float) -> bool:
        self._first_at = self._first_at or at
        return any(begin <= at - self._first_at < begin + length for begin, length in self.outages)

    def _over_limit(self, body: dict[str, Any], at: float) -> Status | None:
        tokens = answers.tokens_in(body) + answers.tokens_out(answers.answer(body)) if self.tpm else 0
        asked = [(self._requests, self.rpm, 1), (self._tokens, self.tpm, tokens)]
        for quota, most, amount in asked:
            if most is not None and not quota.fits(most, at, amount):
                return rate_limited(quota.wait_s(at), self.retry_after)
        for quota, most, amount in asked:
            if most is not None:
                quota.take(at, amount)
        return None

    def _left(self) -> dict[str, str]:
        """Headers with the remaining rate limits."""
        now = time.monotonic()
        headers = {}
        for name, quota, most in (("requests", self._requests, self.rpm), ("tokens", self._tokens, self.tpm)):
            if self.rate_headers and most is not None:
                headers[f"x-ratelimit-remaining-{name}"] = str(quota.left(most, now))
                headers[f"x-ratelimit-reset-{name}"] = f"{quota.wait_s(now) * 1000:.0f}ms"
        return headers

    def bill(self, body: dict[str, Any], text: str, tier: str, cached: int | None = None) -> None:
        """Charge a reply on a tier, and fill the prompt cache."""
        if self.prefix_cache is not None and "sound" not in body:
            self.prefix_cache.fill(body)
        tokens_in, tokens_out = answers.tokens_in(body), answers.tokens_out(text)
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.tokens_cached += cached or 0
        self.ledger.charge(tier, tokens_in, tokens_out, cached or 0)

    async def _respond(
        self, request: web.Request, body: dict[str, Any], fault: Fault | Status | None, cached: int | None
    ) -> web.StreamResponse:
        if fault in (Fault.RATE_LIMIT, Fault.SERVER_ERROR, Fault.UNAVAILABLE, Fault.OVERLOADED):
            fault = Status(int(str(fault)), message="The server is not well.")
        if isinstance(fault, Status):
            return error(fault)
        if "sound" in body:
            text = ears.hear(body, self.sentences)
        else:
            text = (self.answer(body) if self.answer else None) or answers.answer(body)
        if fault is None or fault in PAID:
            self.paid[answers.fingerprint(body)] += 1
            self.undelivered += request.transport is None
        if fault is None or fault in PAID | {Fault.NULL_CONTENT, Fault.EMPTY_CHOICES}:
            tier = str(body.get("service_tier") or self.tier)
            self.bill(body, text, tier, cached)
        reply = ears.transcription(body, text) if "sound" in body else spoil(completion(body, text, cached), fault)
        if body.get("stream") and self.stream_pause_s is not None and fault in (None, Fault.CUT_OFF):
            return await streamed(request, reply, self.stream_pause_s, cut=fault is not None)
        match fault:
            case Fault.HANG:
                await asyncio.sleep(3600)
            case Fault.DISCONNECT:
                drop(request)
            case Fault.CUT_OFF:
                return await cut_off(request, reply)
            case Fault.MALFORMED:
                return web.Response(text=json.dumps(reply)[:-20], content_type="application/json")
            case Fault.HTML:
                return web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html")
        return web.json_response(reply, headers=self._left())


if __name__ == "__main__":
    from tests.fakes.by_hand import main  # it needs this module

    main()
