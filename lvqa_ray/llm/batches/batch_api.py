"""Client of ``/files`` and ``/batches``: sends one HTTP request per call, without retries."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from lvqa_ray.errors import ApiError, BadRequest, MalformedReply, NotFound
from lvqa_ray.llm.endpoint import CACHE_KEY
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.llm.transport import error_mapping
from lvqa_ray.llm.transport.chat_completions import COMPLETIONS, MAX_COMPLETION, MAX_TOKENS, OpenAITransport
from lvqa_ray.llm.transport.connection import CLIENT_ERRORS

TEMPERATURE = "temperature"
TAG = "lvqa_batch"
"""Name of our tag in the metadata of a batch."""
SHORTEST_WINDOW_H = 24
"""OpenAI knows no other completion window; DashScope and Groq take longer ones too (h)."""
MOST_PAGES = 20
"""Pages of the list of batches that are searched for a tag, of 100 batches each."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class BatchState:
    """A batch as the endpoint shows it.

    Attributes:
        id: Its id.
        status: In lower case: ``validating``, ``in_progress``, ``finalizing``, ``cancelling``, or one of `ENDED`.
        tag: Our tag in its metadata; empty for none.
        input_file: Id of the file with the requests.
        results: Ids of the output file and the error file, as far as they exist.
        faults: Errors of the validation, as (message, line from 1 or ``None``).
        done: Requests with a result, failed ones included.
        total: Requests.
    """

    id: str
    status: str
    tag: str = ""
    input_file: str = ""
    results: tuple[str, ...] = ()
    faults: tuple[tuple[str, int | None], ...] = ()
    done: int = 0
    total: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    @classmethod
    def of(cls, answer: object) -> BatchState | None:
        """Parse a batch object; ``None`` if it is none."""
        if isinstance(answer, Mapping) and isinstance(answer.get("job"), Mapping):
            answer = answer["job"]  # Together
        if not isinstance(answer, Mapping) or not isinstance(answer.get("id"), str):
            return None
        metadata, counts = _mapping(answer.get("metadata")), _mapping(answer.get("request_counts"))
        faults = _mapping(answer.get("errors")).get("data")
        numbers = {name: count for name, count in counts.items() if isinstance(count, int)}
        return cls(
            id=answer["id"],
            status=str(answer.get("status") or "").lower(),
            tag=str(metadata.get(TAG) or ""),
            input_file=str(answer.get("input_file_id") or ""),
            results=tuple(str(answer[name]) for name in ("output_file_id", "error_file_id") if answer.get(name)),
            faults=tuple(_fault(each) for each in faults if isinstance(each, Mapping))
            if isinstance(faults, list)
            else (),
            done=numbers.get("completed", 0) + numbers.get("failed", 0),
            total=numbers.get("total", 0),
        )


class BatchApi(OpenAITransport):
    """Files and batches of an endpoint; also renders requests as lines of a file and reads replies from one."""

    def line(self, key: str, request: ChatRequest) -> bytes:
        """The line of a request, with its line end.

        Args:
            key: Cache key, which becomes the custom id; 64 characters, the most that Together takes.
            request: The request.
        """
        row = {"custom_id": key, "method": "POST", "url": f"/v1{COMPLETIONS}", "body": self.body(request)}
        return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The body of a request; a batch has no streamed replies."""
        return {name: value for name, value in self._body(request).items() if name not in {"stream", "stream_options"}}

    @property
    def form(self) -> frozenset[str]:
        """Fields of the body that are not sent as by default, since the endpoint has refused them (`adapt`)."""
        changed = {
            MAX_TOKENS: self._token_limit != MAX_TOKENS,
            TEMPERATURE: not self._sends_temperature,
            CACHE_KEY: self._endpoint.sends_cache_key and not self._names_prefix,
        }
        return frozenset(name for name, is_changed in changed.items() if is_changed)

    def change(self, names: Collection[str]) -> None:
        """Change the form of all later requests, as `adapt` does.

        Args:
            names: Fields as in `form`.
        """
        if MAX_TOKENS in names:
            self._token_limit = MAX_COMPLETION
        if TEMPERATURE in names:
            self._sends_temperature = False
        if CACHE_KEY in names:
            self._names_prefix = False

    def asked(self, error: BadRequest, request: ChatRequest) -> frozenset[str]:
        """The changes of the form that the error of a request asks for, whether made since or not."""
        first = BatchApi(self._endpoint, self._api_key)
        first.adapt(error, first.body(request))
        return first.form

    def key_print(self, salt: str) -> str:
        """Short hash that tells this API key from another one without revealing it.

        Args:
            salt: Text that differs for each batch.
        """
        return hashlib.sha256(f"{salt}:{self._key}".encode()).hexdigest()[:8]

    def reply(self, answer: object) -> ChatReply:
        """Convert the body of a result; errors as for a reply of `OpenAITransport`."""
        return self._reply(answer, "batch")

    def error(self, status: int, body: object) -> ApiError:
        """The error of a result with an HTTP status."""
        return error_mapping.of_status(status, {}, json.dumps(body), secret=self._key, tier="batch")

    def fault(self, kind: type[ApiError], quote: str) -> ApiError:
        """An error with the endpoint's words."""
        return self._fault(kind, quote)

    async def upload(self, file: Path, name: str) -> str:
        """Upload a file of requests; returns its id.

        Raises:
            ApiError: It was not accepted, or nothing is known about it.
        """
        answer, _ = await self._ask("POST", self._url("/files"), {"file": file, "name": name})
        return self._id_of(answer)

    async def create(self, file: str, tag: str, hours: float) -> BatchState:
        """Create a batch from an uploaded file.

        Args:
            file: Id of the file.
            tag: Our tag.
            hours: How long it may take (h).

        Raises:
            ApiError: It was not accepted; without a status, it may have been created nevertheless.
        """
        body = {
            "input_file_id": file,
            "endpoint": f"/v1{COMPLETIONS}",
            "completion_window": f"{max(SHORTEST_WINDOW_H, math.ceil(hours))}h",
            "metadata": {TAG: tag},
        }
        answer, _ = await self._ask("POST", self._url("/batches"), body)
        return self._state(answer)

    async def get(self, batch: str) -> BatchState:
        """The state of a batch."""
        answer, _ = await self._ask("GET", self._url(f"/batches/{batch}"), None)
        return self._state(answer)

    async def cancel(self, batch: str) -> BatchState:
        """Cancel a batch; requests that are answered already are charged."""
        answer, _ = await self._ask("POST", self._url(f"/batches/{batch}/cancel"), {})
        return self._state(answer)

    async def list_batches(self, after: str = "") -> list[BatchState]:
        """One page of the endpoint's batches, the newest first; costs nothing.

        Args:
            after: Id of the last batch of the page before.

        Raises:
            ApiError: `NotFound` and others, if the endpoint has no file batches.
        """
        url = self._url("/batches").copy_merge_params({"limit": "100", **({"after": after} if after else {})})
        answer, _ = await self._ask("GET", url, None)
        data = answer.get("data") if isinstance(answer, Mapping) else answer  # Together gives the bare list
        if not isinstance(data, list):
            raise self._fault(MalformedReply, "there is no list of batches")
        return [state for each in data if (state := BatchState.of(each)) is not None]

    async def find(self, tag: str, file: str) -> BatchState | None:
        """The batch with a tag or an input file, if the endpoint has it."""
        after = ""
        for _ in range(MOST_PAGES):
            page = await self.list_batches(after)
            if found := next((each for each in page if each.tag == tag or (file and each.input_file == file)), None):
                return found
            if not page or page[-1].id == after:
                return None
            after = page[-1].id
        return None

    async def content(self, file: str) -> bytes:
        """The content of a file.

        Raises:
            ApiError: It could not be fetched.
        """
        try:
            answer = await self._exchange("GET", self._url(f"/files/{file}/content"), None)
            if answer.is_success:
                return answer.content
            error = error_mapping.of_status(answer.status_code, answer.headers, answer.text, secret=self._key)
        except CLIENT_ERRORS as exc:
            error = error_mapping.as_api_error(exc, secret=self._key)
        raise error

    async def has_file(self, file: str) -> bool:
        """Whether the endpoint shows a file to this key.

        Raises:
            ApiError: It does not say.
        """
        try:
            await self._ask("GET", self._url(f"/files/{file}"), None)
        except NotFound:
            return False
        return True

    async def delete(self, file: str) -> None:
        """Delete a file, if it exists."""
        try:
            await self._ask("DELETE", self._url(f"/files/{file}"), None)
        except NotFound:
            return

    def _request(self, method: str, url: httpx2.URL, body: dict[str, Any] | None) -> httpx2.Request:
        """Build a multipart form for an upload."""
        if body is None or "file" not in body:
            return super()._request(method, url, body)
        return httpx2.Request(
            method,
            url,
            headers=[(name, value) for name, value in self._headers if name.lower() != "content-type"],
            data={"purpose": "batch"},
            files={"file": (body["name"], body["file"].read_bytes(), "application/jsonl")},
            extensions={"timeout": self._timeouts},
        )

    def _state(self, answer: object) -> BatchState:
        state = BatchState.of(answer)
        if state is None:
            raise self._fault(MalformedReply, "there is no batch in it")
        return state

    def _id_of(self, answer: object) -> str:
        if isinstance(answer, Mapping) and isinstance(answer.get("id"), str):
            return str(answer["id"])
        raise self._fault(MalformedReply, "there is no file in it")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _fault(given: Mapping[str, Any]) -> tuple[str, int | None]:
    code, line = given.get("code"), given.get("line")
    said = " ".join(str(part) for part in (code and f"{code}:", given.get("message")) if part)
    return said, line if isinstance(line, int) and not isinstance(line, bool) else None
