"""Runner of file batches: uploads, creates and polls them, and records their results. It imports no Ray."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from lvqa_ray.engine.batching.batch_budget import BatchBudget
from lvqa_ray.engine.batching.open_batch import (
    EMPTY_POLLS,
    UNSENT,
    OpenBatch,
    id_now,
    is_hidden,
    locate,
    restore_open_batch,
)
from lvqa_ray.engine.batching.request_files import BatchLine, discarded, given_up, outage, typed, uploaded, without
from lvqa_ray.errors import (
    ApiError,
    NoCapacity,
    NotFound,
    RetryableError,
    StopRun,
)
from lvqa_ray.journal.batch_log import BatchLog, batch_target
from lvqa_ray.llm.batches.batch_api import BatchApi, BatchState
from lvqa_ray.llm.batches.batch_queue import QueueClient, ReadyFile
from lvqa_ray.llm.batches.result_rows import results_of
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.llm.middleware.budget import BudgetClient

TICK_S = 0.1
"""Interval at which the queues are asked for complete files (s)."""
LONGEST_REST_S = 600.0
"""Longest rest after a round in which no request was answered (s)."""
CANCEL_S = 900.0
"""How long a batch that is to be cancelled may take to end (s); OpenAI says up to 10 minutes."""
logger = logging.getLogger(__name__)


class BatchRunner:
    """Runs the batches of a run in a thread of the process that holds the lock on the output folder.

    Args:
        lines: The endpoints with file batches.
        log: The log.
        budget: Budget of the run, if it has one.

    Attributes:
        broken: Why no batch can be run any more; empty while they can.
    """

    def __init__(self, lines: Sequence[BatchLine], log: BatchLog, budget: BudgetClient | None) -> None:
        self._lines = lines
        self._log = log
        self._budget = BatchBudget(budget)
        self._halted = False
        self._open: dict[str, OpenBatch] = {}
        self._left: dict[str, str] = {}  # by keys of requests: why their batch is not asked for any more
        self._flush = False
        self._idle = False
        self._answered = 0
        self._fruitless = 0
        self._restarts = 0  # of queues, in this round
        self._down_since: dict[int, float] = {}  # by the id of a line
        self._over = threading.Event()
        self._adopted = threading.Event()
        self._thread: threading.Thread | None = None
        self.broken = ""

    def start(self) -> None:
        """Take over the open batches of earlier runs, and start the thread.

        Raises:
            OSError: The log cannot be read.
        """
        for logged in self._log.open():
            if (batch := restore_open_batch(logged, self._lines)) is not None:
                self._open[logged.tag] = batch
        if self._open:
            logger.warning("%d file batches of an earlier run are open: their answers will be used.", len(self._open))
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()
        self._adopted.wait()

    def stop(self) -> None:
        """Stop the thread; open batches go on at the endpoint, and the next run finds them."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def halt(self) -> None:
        """Create no more batches: another run may have the lock, or a signal was received."""
        self._halted = True

    def waiting(self) -> str:
        """What is waited for, as the rest of a sentence "Waiting for ..."."""
        shown = [each.shown for each in list(self._open.values())]
        done, total = sum(each.done for each in shown if each), sum(each.total for each in shown if each)
        return f"{len(shown)} file batches ({done:,} of {total:,} requests processed)"

    def wait(self, stopped: Callable[[], str], on_wait: Callable[[str], object] = len) -> bool:
        """Send all collected requests and wait until no batch is open: the end of a round.

        Args:
            stopped: Says why to stop waiting; empty to wait on.
            on_wait: Called with what is waited for.

        Returns:
            Whether any request had to wait, so that another pass is needed.
        """
        self._idle, self._flush, before = False, True, self._answered
        while not (self._idle or self._over.is_set() or self.broken or stopped()):
            on_wait(self.waiting())
            time.sleep(TICK_S)
        self._flush = False
        deferred = bool(asyncio.run(self._deferred())) and not stopped()
        self._fruitless = 0 if self._answered > before or not deferred else self._fruitless + 1
        if self._fruitless:
            shortest = min(line.endpoint.batch_poll_s for line in self._lines)
            until = time.monotonic() + min(LONGEST_REST_S, shortest * 2.0 ** min(self._fruitless, 20))
            while time.monotonic() < until and not stopped():
                on_wait(f"{until - time.monotonic():.0f} s before the next batch, as the last one answered nothing")
                time.sleep(TICK_S)
        return deferred

    async def _deferred(self) -> int:
        lost, self._restarts = self._restarts, 0  # a restarted queue has lost its count
        return lost + sum([await line.queue.deferred() for line in self._lines])

    async def _halt(self) -> None:
        for line in self._lines:
            await line.queue.halt(self.broken)

    async def _adopt(self, lines: Sequence[BatchLine]) -> None:
        """Tell queues which requests are in open batches, and which are in one that is not asked for any more."""
        for line in lines:
            mine = [batch for batch in self._open.values() if line.queue in self._queues(batch)]
            await line.queue.settle({key: given_up(said) for key, said in self._left.items()})
            await line.queue.adopt([entry.key for batch in mine for entry in batch.logged.entries])

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except ApiError as error:
            self.broken = str(error)
        except Exception as error:  # the run must not wait for a dead thread
            logger.exception("file batches cannot go on")
            self.broken = f"File batches cannot go on ({type(error).__name__})."
        self._adopted.set()
        if self.broken:
            with suppress(Exception):  # the actors may be gone too
                asyncio.run(self._halt())

    async def _serve(self) -> None:
        await self._adopt(self._lines)
        self._adopted.set()
        try:
            while not self._over.is_set():
                flushing = self._flush
                took = False
                for line in self._lines:
                    if not await line.queue.is_known():  # its process was restarted
                        self._restarts += 1
                        await self._adopt([line])
                    while not self._halted and (file := await line.queue.take(flush=flushing)) is not None:
                        took = True
                        await self._submit(line, file)
                for batch in list(self._open.values()):
                    if time.monotonic() >= batch.next_poll:
                        batch.next_poll = time.monotonic() + batch.line.endpoint.batch_poll_s
                        with suppress(RetryableError):  # the next poll may succeed
                            await self._advance(batch)
                self._idle = flushing and not took and not self._open
                await asyncio.sleep(TICK_S)
        finally:
            for api in {id(api): api for api in self._clients()}.values():
                with suppress(OSError):
                    await api.aclose()

    async def _submit(self, line: BatchLine, file: ReadyFile) -> None:
        """Upload a file and create its batch; each step is logged before the next one."""
        known = {entry.key for each in self._open.values() for entry in each.logged.entries} | self._left.keys()
        if doubled := {entry.key for entry in file.entries} & known:  # after a restart of the queue
            await self._budget.release([entry for entry in file.entries if entry.key in doubled])
            file = without(file, doubled)
            mine = {entry.key for each in self._open.values() if each.line is line for entry in each.logged.entries}
            theirs: dict[str, ApiError | None] = {
                key: given_up(self._left[key])
                if key in self._left
                else NoCapacity("The batch of another key has the request.")  # it may be offered again
                for key in doubled - mine
            }
            await line.queue.settle(theirs)
        if not file.entries:
            file.path.unlink(missing_ok=True)
            return
        tag = f"lvqa-{uuid.uuid4().hex}"
        logged = self._log.intend(tag, line.endpoint, file.entries)
        try:
            name = await uploaded(line, file, f"{tag}.jsonl")
        except ApiError as error:
            await self._refused(OpenBatch(line, logged), "not_uploaded", error)
            return
        finally:
            file.path.unlink(missing_ok=True)
        logged = self._log.note(logged, file=name)
        batch = self._open[tag] = OpenBatch(line, logged)
        try:
            state = await line.api.create(name, tag, line.endpoint.batch_hours)
        except ApiError as error:
            if error.status is None or error.status >= 500:
                return  # it may exist: `_advance` looks for it
            with suppress(RetryableError):
                await discarded(line, name)
            await self._refused(batch, "not_created", error)
            return
        self._down_since.pop(id(line), None)
        batch.logged = self._log.note(logged, id_=state.id)
        batch.shown = state

    async def _refused(self, batch: OpenBatch, status: str, error: ApiError) -> None:
        """End a batch whose file or creation was not accepted; an outage counts as no attempt of its requests."""
        line = batch.line
        if isinstance(error, RetryableError):
            down_s = time.monotonic() - self._down_since.setdefault(id(line), time.monotonic())
            error = outage(error, down_s, line.endpoint.max_outage_s)
        await self._end(batch, status, {entry.key: typed(error) for entry in batch.logged.entries})

    async def _advance(self, batch: OpenBatch) -> None:
        """Bring a batch one step further.

        Raises:
            RetryableError: Nothing is known now.
        """
        hours = batch.line.endpoint.batch_hours
        try:
            if not batch.logged.id and not await self._located(batch):
                return
            state = batch.shown = await batch.line.api.get(batch.logged.id)
        except ApiError as error:
            if not is_hidden(error) or (error.status == 401 and batch.has_own_key and not batch.others):
                raise  # nothing is known, or nothing can be sent with this key
            await self._unknown(batch)
            return
        batch.denials = 0
        late = not state.results and (state.done or state.status == "completed")  # some servers count nothing
        if state.ended and late and batch.empty < EMPTY_POLLS:
            batch.empty += 1
        elif state.ended:
            await self._record(batch, state)
        elif time.time() - batch.logged.at > 3600 * hours:
            if not batch.overdue_at:
                logger.warning("file batch %s has not ended within %g hours: it is cancelled", state.id, hours)
                batch.overdue_at = time.monotonic()
            batch.cancelled = batch.cancelled or await self._cancelled(batch)
            if time.monotonic() - batch.overdue_at > CANCEL_S:
                said = f"The file batch {state.id} does not end, not even cancelled; a later run looks at it again."
                await self._leave(batch, said)

    @staticmethod
    async def _cancelled(batch: OpenBatch) -> bool:
        """Cancel a batch; returns whether that need not be tried again.

        Raises:
            StopRun: Nothing can be sent to the endpoint any more.
        """
        try:
            await batch.line.api.cancel(batch.logged.id)
        except RetryableError:
            return False
        except ApiError as error:
            if isinstance(error, StopRun) and not isinstance(error, NotFound):
                raise
            logger.warning("file batch %s cannot be cancelled, and may still end: %s", batch.logged.id, error)
        return True

    async def _unknown(self, batch: OpenBatch) -> None:
        """Look for a batch that the endpoint has denied; its requests may be paid for, so none is sent again."""
        found = await id_now(batch) if batch.logged.id else ""
        if found and found != batch.logged.id:
            batch.logged = self._log.note(batch.logged, id_=found)
        if not found and (said := batch.deny()):
            await self._leave(batch, said)

    async def _leave(self, batch: OpenBatch, said: str) -> None:
        """Fail the requests of a batch in this run; it stays open in the log for a later one."""
        logger.warning("%s", said)
        keys = [entry.key for entry in batch.logged.entries]
        self._left |= dict.fromkeys(keys, said)
        for queue in self._queues(batch):
            await queue.settle({key: given_up(said) for key in keys})
        del self._open[batch.logged.tag]

    async def _located(self, batch: OpenBatch) -> bool:
        """Find a batch whose id was not logged; returns whether it was found."""
        found, status = await locate(batch, self._log)
        if found:
            batch.logged = self._log.note(batch.logged, id_=found)
        elif status == "denied":
            await self._unknown(batch)
        elif status:
            unsent = NoCapacity("The file batch was not created.")
            await self._end(batch, status, {entry.key: unsent for entry in batch.logged.entries})
        return bool(found)

    async def _record(self, batch: OpenBatch, state: BatchState) -> None:
        """Write the results of an ended batch to the journal."""
        files = []
        for name in state.results:
            try:
                files.append(await batch.line.api.content(name))
            except NotFound:
                if batch.empty < EMPTY_POLLS:
                    batch.empty += 1  # the file may come later than its id
                    return
                logger.warning("the result file %s of batch %s is gone", name, state.id)
        keys = [entry.key for entry in batch.logged.entries]
        results = await asyncio.to_thread(results_of, batch.line.api, state, files, keys)
        await asyncio.to_thread(self._log.record, batch.logged, results)
        await self._budget.settle(batch.logged, results)
        self._answered += sum(isinstance(result, ChatReply) for result in results.values())
        failures = {key: None if isinstance(result, ChatReply) else result for key, result in results.items()}
        await self._end(batch, state.status, failures)
        for name in (batch.logged.file, *state.results):
            await discarded(batch.line, name)

    async def _end(self, batch: OpenBatch, status: str, results: Mapping[str, ApiError | None]) -> None:
        batch.logged = self._log.note(batch.logged, status=status)
        self._open.pop(batch.logged.tag, None)
        if status in UNSENT and batch.logged.ours:
            await self._budget.release(batch.logged.entries)
        for queue in self._queues(batch):
            await queue.settle(results)

    def _queues(self, batch: OpenBatch) -> list[QueueClient]:
        """The queues that the requests of a batch may be offered to, with whatever key."""
        return [line.queue for line in self._lines if batch_target(line.endpoint) == batch.logged.target]

    def _clients(self) -> list[BatchApi]:
        tried = [line for batch in self._open.values() for line in (batch.line, *batch.others)]
        return [line.api for line in (*self._lines, *tried)]
