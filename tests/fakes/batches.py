"""Fake of OpenAI's ``/files`` and ``/batches``, with real states and delays, for the fake endpoint.

A batch passes ``validating``, ``in_progress`` and ``finalizing`` before it ends; each state lasts `state_s` seconds.
Requests are answered, and charged, while it is in progress, in random order.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes import answers
from tests.fakes.faults import PAID, Fault, Status, spoil
from tests.fakes.replies import completion, drop, error

if TYPE_CHECKING:
    from tests.fakes.endpoint import FakeEndpoint

REFUSALS = {
    "max_tokens": Status(
        400,
        "unsupported_parameter",
        "invalid_request_error",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    ),
    "temperature": Status(
        400,
        "unsupported_value",
        "invalid_request_error",
        "Unsupported value: 'temperature' does not support 0.2. Only the default (1) value is supported.",
    ),
}
ENDED = {"completed", "failed", "expired", "cancelled"}


@dataclass
class FakeBatch:
    """A batch, with its requests by custom id."""

    id: str
    file: str
    metadata: dict[str, str]
    rows: list[dict[str, Any]]
    account: str = ""
    status: str = "validating"
    created_at: float = field(default_factory=time.time)
    output: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    output_file: str | None = None
    error_file: str | None = None

    def shown(self) -> dict[str, Any]:
        """The batch object of the API."""
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "errors": {"object": "list", "data": self.faults} if self.faults else None,
            "input_file_id": self.file,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file,
            "error_file_id": self.error_file,
            "created_at": int(self.created_at),
            "metadata": self.metadata,
            "request_counts": {
                "total": len(self.rows),
                "completed": len(self.output),
                "failed": len(self.errors),
            },
        }


class FileBatches:
    """The server's files and batches. Tests may change the public attributes while it runs.

    Attributes:
        offered: Whether the endpoint has batches; otherwise 404.
        state_s: Seconds in each state.
        row_s: Seconds of work for each request.
        row_faults: Fault or error status of a request, by a part of its text.
        reasoning: Whether the model refuses ``max_tokens`` and ``temperature``, as OpenAI's reasoning models do.
        expire_after: Requests after which every batch expires; ``None`` for never.
        stuck: Whether batches stay in progress until they are cancelled.
        fail_line: Line (from 1) at which the validation of the next batch fails.
        full: Batches that fail at once because too many tokens wait already.
        forget: Custom ids to leave out, and ids to answer twice, as counts of the next results.
        crowded: Requests for a batch to refuse with 429.
        uncounted: Whether batches are shown without ``request_counts``.
        late: Requests for ended batches that show no files of results yet.
        no_cancel: Whether batches cannot be cancelled.
        accounts: Account of each API key; by default each key has an account of its own, which sees no other's batches
            and files.
        denial: HTTP status for a batch and for a file of another account.
        missing: 404s to answer, by ``status`` and ``content``: how many of each.
        drop_next: Connections to drop, by ``upload``, ``create``, ``create_after``, ``status`` and ``content``: how
            many of each. ``create_after`` drops the reply after the batch has been made.
    """

    def __init__(self, server: FakeEndpoint) -> None:
        self._server = server
        self.offered = True
        self.state_s = 0.05
        self.row_s = 0.0
        self.row_faults: dict[str, Fault | Status] = {}
        self.reasoning = False
        self.expire_after: int | None = None
        self.stuck = False
        self.fail_line: int | None = None
        self.full = 0
        self.forget = 0
        self.twice = 0
        self.crowded = 0
        self.uncounted = False
        self.late = 0
        self.no_cancel = False
        self.accounts: dict[str, str] = {}
        self.denial = 404
        self.missing: Counter[str] = Counter()
        self.drop_next: Counter[str] = Counter()
        self.files: dict[str, tuple[str, bytes]] = {}
        self._owners: dict[str, str] = {}  # accounts of uploaded files
        self.made: dict[str, FakeBatch] = {}
        self.asked: Counter[str] = Counter()  # custom ids in created batches
        self.answered: Counter[str] = Counter()  # custom ids that were answered, and charged
        self._rng = random.Random(7)  # noqa: S311 - an order that can be repeated
        self._tasks: set[asyncio.Task[None]] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the paths of the API."""
        router.add_post("/v1/files", self._upload)
        router.add_get("/v1/files", self._list_files)
        router.add_get("/v1/files/{id}", self._show_file)
        router.add_get("/v1/files/{id}/content", self._content)
        router.add_delete("/v1/files/{id}", self._delete)
        router.add_post("/v1/batches", self._create)
        router.add_get("/v1/batches", self._list)
        router.add_get("/v1/batches/{id}", self._get)
        router.add_post("/v1/batches/{id}/cancel", self._cancel)

    def live(self) -> list[FakeBatch]:
        """The batches that have not ended."""
        return [batch for batch in self.made.values() if batch.status not in ENDED]

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        if self._dropped(request, "upload"):
            return web.Response()
        file = form["file"]
        assert isinstance(file, web.FileField)
        assert form["purpose"] == "batch"
        data = file.file.read()
        if len(data) > 200 * 10**6 or data.count(b"\n") > 50_000:
            return error(Status(400, "file_too_large", "invalid_request_error", "The file is too large."))
        name = f"file-{uuid.uuid4().hex[:12]}"
        self.files[name] = (file.filename, data)
        self._owners[name] = self._account(request)
        return web.json_response(self._file(name))

    def _file(self, name: str) -> dict[str, Any]:
        filename, data = self.files[name]
        return {"id": name, "object": "file", "bytes": len(data), "filename": filename, "purpose": "batch"}

    def _account(self, request: web.Request) -> str:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self.accounts.get(key, key)

    def _sees(self, request: web.Request, name: str) -> bool:
        """Whether a file exists for the account; one of a batch's results belongs to nobody here."""
        return name in self.files and self._owners.get(name) in {None, self._account(request)}

    async def _list_files(self, request: web.Request) -> web.Response:
        names = [name for name in self.files if self._sees(request, name)]
        return web.json_response({"object": "list", "data": [self._file(name) for name in names]})

    async def _show_file(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if not self._sees(request, name):
            status = self.denial if name in self.files else 404
            return error(Status(status, "not_found", "invalid_request_error", "No such file."))
        return web.json_response(self._file(name))

    async def _content(self, request: web.Request) -> web.Response:
        if self._dropped(request, "content"):
            return web.Response()
        file = self.files.get(request.match_info["id"])
        if file is None or self._is_missing("content"):
            return error(Status(404, "not_found", "invalid_request_error", "No such file."))
        return web.Response(body=file[1], content_type="application/octet-stream")

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if not self._sees(request, name) or self.files.pop(name) is None:
            return error(Status(404, "not_found", "invalid_request_error", "No such file."))
        return web.json_response({"id": name, "object": "file", "deleted": True})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not self.offered:
            return error(Status(404, None, "invalid_request_error", "Invalid URL (POST /v1/batches)"))
        if self.crowded > 0:
            self.crowded -= 1
            return error(Status(429, "rate_limit_exceeded", "requests", "Too many requests."))
        if self._dropped(request, "create"):
            return web.Response()
        file = self.files.get(body["input_file_id"])
        if file is None:
            return error(Status(400, "invalid_request", "invalid_request_error", "No such input file."))
        assert body["endpoint"] == "/v1/chat/completions"
        assert body["completion_window"] == "24h"
        rows = [json.loads(line) for line in file[1].splitlines()]
        assert len({row["custom_id"] for row in rows}) == len(rows)
        name, metadata = f"batch_{uuid.uuid4().hex[:12]}", body.get("metadata") or {}
        batch = FakeBatch(name, body["input_file_id"], metadata, rows, self._account(request))
        self.made[batch.id] = batch
        task = asyncio.get_running_loop().create_task(self._work(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._dropped(request, "create_after"):
            return web.Response()
        return web.json_response(batch.shown())

    async def _list(self, request: web.Request) -> web.Response:
        if not self.offered:
            return error(Status(404, None, "invalid_request_error", "Invalid URL (GET /v1/batches)"))
        mine = [batch for batch in self.made.values() if batch.account == self._account(request)]
        newest = sorted(mine, key=lambda batch: -batch.created_at)
        if after := request.query.get("after"):
            at = [batch.id for batch in newest].index(after)
            newest = newest[at + 1 :]
        shown = newest[: int(request.query.get("limit", 20))]
        return web.json_response({"object": "list", "data": [batch.shown() for batch in shown]})

    async def _get(self, request: web.Request) -> web.Response:
        if self._dropped(request, "status"):
            return web.Response()
        batch = self.made.get(request.match_info["id"])
        if batch is not None and batch.account != self._account(request):
            return error(Status(self.denial, "denied", "invalid_request_error", "No such batch for this key."))
        if batch is None or self._is_missing("status"):
            return error(Status(404, "not_found", "invalid_request_error", "No such batch."))
        return web.json_response(self._shown(batch))

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self.made[request.match_info["id"]]
        if self.no_cancel:
            return error(Status(400, "invalid_request", "invalid_request_error", "Batches cannot be cancelled."))
        if batch.status not in ENDED:
            batch.status = "cancelling"
        return web.json_response(batch.shown())

    def _shown(self, batch: FakeBatch) -> dict[str, Any]:
        shown = batch.shown()
        if self.uncounted:
            del shown["request_counts"]
        if self.late and batch.status in ENDED:
            self.late -= 1
            shown |= {"output_file_id": None, "error_file_id": None}
        return shown

    def _is_missing(self, what: str) -> bool:
        self.missing[what] -= 1
        return self.missing[what] >= 0

    def _dropped(self, request: web.Request, what: str) -> bool:
        if self.drop_next[what] <= 0:
            return False
        self.drop_next[what] -= 1
        drop(request)
        return True

    async def _work(self, batch: FakeBatch) -> None:
        await asyncio.sleep(self.state_s)
        if self._invalid(batch):
            batch.status = "failed"
            return
        self.asked.update(row["custom_id"] for row in batch.rows)
        batch.status = "in_progress" if batch.status == "validating" else batch.status
        await asyncio.sleep(self.state_s)
        left = list(batch.rows)
        self._rng.shuffle(left)
        done = 0
        while left and batch.status == "in_progress":
            if self.stuck:
                await asyncio.sleep(self.state_s)
                continue
            if self.expire_after is not None and done >= self.expire_after:
                break
            await asyncio.sleep(self.row_s)
            self._answer(batch, left.pop())
            done += 1
        end = "completed" if not left else "cancelled" if batch.status == "cancelling" else "expired"
        for row in left:
            code = "batch_cancelled" if end == "cancelled" else "batch_expired"
            failure = {"code": code, "message": "This request could not be executed before the batch ended."}
            batch.errors.append({"id": "", "custom_id": row["custom_id"], "response": None, "error": failure})
        if end == "completed":
            batch.status = "finalizing"
            await asyncio.sleep(self.state_s)
        self._rng.shuffle(batch.output)
        batch.output_file = self._results(self._spoiled(batch.output))
        batch.error_file = self._results(batch.errors)
        batch.status = end

    def _invalid(self, batch: FakeBatch) -> bool:
        if self.full > 0:
            self.full -= 1
            message = "Enqueued token limit reached for this model. Please try again once some batches have ended."
            batch.faults = [{"code": "token_limit_exceeded", "message": message, "line": None, "param": None}]
        elif self.fail_line is not None:
            message = "Invalid value for 'max_tokens'."
            batch.faults = [{"code": "invalid_request", "message": message, "line": self.fail_line, "param": "body"}]
            self.fail_line = None
        return bool(batch.faults)

    def _answer(self, batch: FakeBatch, row: dict[str, Any]) -> None:
        server, body = self._server, row["body"]
        text = answers.text_of(body)
        fault = next((fault for mark, fault in self.row_faults.items() if mark in text), None)
        fault = next((REFUSALS[name] for name in REFUSALS if self.reasoning and name in body), fault)
        if isinstance(fault, Status):
            reply = {"error": {"message": fault.message, "type": fault.type, "code": fault.code}}
            self._note(batch.errors, row, fault.status, reply)
            return
        said = (server.answer(body) if server.answer else None) or answers.answer(body)
        if fault is None or fault in PAID:
            server.paid[answers.fingerprint(body)] += 1
        server.bill(body, said, "batch")
        server.counts["batch"] += 1
        self.answered[row["custom_id"]] += 1
        self._note(batch.output, row, 200, spoil(completion(body, said), fault))

    @staticmethod
    def _note(rows: list[dict[str, Any]], row: dict[str, Any], status: int, body: dict[str, Any]) -> None:
        response = {"status_code": status, "request_id": uuid.uuid4().hex, "body": body}
        rows.append({"id": uuid.uuid4().hex, "custom_id": row["custom_id"], "response": response, "error": None})

    def _spoiled(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows, of which the tests may lose or double some."""
        lost, self.forget = self.forget, 0
        doubled, self.twice = self.twice, 0
        return [*rows[lost:], *rows[lost : lost + doubled]]

    def _results(self, rows: list[dict[str, Any]]) -> str | None:
        if not rows:
            return None
        name = f"file-{uuid.uuid4().hex[:12]}"
        self.files[name] = ("results.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        return name
