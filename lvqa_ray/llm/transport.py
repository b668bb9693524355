"""The call itself: one request through the openai SDK's HTTP client, and what its reply must be to be an answer."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

import httpx2
import openai
from pydantic import JsonValue, SecretStr

from lvqa_ray.errors import ApiError, BadRequest, Bill, ContentFiltered, MalformedReply, Refused, TruncatedReply
from lvqa_ray.llm import faults
from lvqa_ray.llm.connection import CLIENT_ERRORS, Connection
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.headers import RateInfo
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Message, Part, Text
from lvqa_ray.llm.model_list import ModelList
from lvqa_ray.llm.pricing import cost_usd
from lvqa_ray.records import Usage

CONNECT_S = 30.0
# Some servers leave the reason out, or name it in the words of the API behind them.
_ENDED_BY_ITSELF = (None, "", "stop", "eos", "end_turn", "stop_sequence", "STOP")
MAX_TOKENS, MAX_COMPLETION = "max_tokens", "max_completion_tokens"


class OpenAITransport:
    """Asks one endpoint, once per call: no retries, no limits, no cache.

    The SDK builds its typed replies without checking them, so the reply is taken as plain JSON and checked here.
    The client is made at the first call, inside the loop that uses it.

    Args:
        endpoint: Where to ask.
        api_key: The key, empty for none.
    """

    def __init__(self, endpoint: Endpoint, api_key: SecretStr) -> None:
        self._endpoint = endpoint
        self._api_key = api_key
        self._client: Connection | None = None
        self._token_limit = MAX_TOKENS
        self._completions = self._url("/chat/completions")
        self._headers: list[tuple[str, str]] = []
        timeout_s = endpoint.timeout_s
        self._timeouts = openai.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)).as_dict()

    def __repr__(self) -> str:
        return f"OpenAITransport({self._endpoint.label})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("An OpenAITransport holds a key and a connection: make it where it is used.")

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Send the request once.

        Raises:
            ApiError: There was no usable answer.
        """
        body = {
            **self._endpoint.sampling(request),
            "model": self._endpoint.model,
            "messages": [_message(message) for message in request.messages],
        }
        answer, limits = await self._completed(body)
        try:
            return replace(self._reply(answer), limits=limits)
        except ApiError as error:
            error.limits = limits
            raise

    async def _completed(self, body: dict[str, Any]) -> tuple[object, RateInfo | None]:
        """The reply to a request, whose token limit is sent under the name that the model takes.

        OpenAI's reasoning models refuse ``max_tokens`` by name and take ``max_completion_tokens``, which means the
        same; an Azure deployment's name does not tell which model it is, so the refusal itself decides.
        """
        if MAX_TOKENS in body:
            body[self._token_limit] = body.pop(MAX_TOKENS)
        try:
            return await self._ask("POST", self._completions, body)
        except BadRequest as error:
            if MAX_TOKENS not in body or MAX_COMPLETION not in str(error):
                raise
        self._token_limit = MAX_COMPLETION
        return await self._completed(body)

    async def list_models(self) -> ModelList:
        """The models that the endpoint lists, which costs nothing.

        Raises:
            ApiError: `AuthFailed`, `NotFound` (some endpoints have no such list), `Disconnected` and the others.
        """
        answer, _ = await self._ask("GET", self._url("/models"), None)
        models = ModelList.of(answer)
        if models is None:
            raise self._fault(MalformedReply, "there is no list of models")
        return models

    @property
    def moved_to(self) -> str:
        """The base URL to which the endpoint redirects requests; empty where it does not."""
        return self._client.moved_to if self._client else ""

    async def aclose(self) -> None:
        """Close the connections; a later call opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(self, method: str, url: httpx2.URL, body: dict[str, Any] | None) -> tuple[object, RateInfo | None]:
        """The reply's JSON, and what its headers say about limits."""
        client = self._client = self._client or self._open()
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):
                answer = await client.send(self._request(method, url, body))
            if answer.is_success:
                return json.loads(answer.content), RateInfo.of(answer.headers)
            error = faults.of_status(answer.status_code, answer.headers, answer.text, secret=self._key)
        except CLIENT_ERRORS as exc:
            error = faults.as_api_error(exc, secret=self._key)
        except (json.JSONDecodeError, UnicodeDecodeError):
            error = self._fault(MalformedReply, "it is a web page" if _is_page(answer.content) else "it is not JSON")
        raise error  # outside of `except`, or it would carry the client's exception with the whole request

    def _request(self, method: str, url: httpx2.URL, body: dict[str, Any] | None) -> httpx2.Request:
        """What the SDK would send; made here, because its own way there takes as long as all the rest of a call."""
        return httpx2.Request(
            method,
            url,
            headers=self._headers,
            content=None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
            extensions={"timeout": self._timeouts},
        )

    def _url(self, path: str) -> httpx2.URL:
        return httpx2.URL(self._endpoint.base_url.rstrip("/") + path)

    def _open(self) -> Connection:
        """The connections, and what the SDK says to an endpoint in its headers."""
        connection = Connection(self._endpoint)
        sdk = openai.AsyncOpenAI(
            base_url=self._endpoint.base_url,
            api_key=self._key or "none",
            admin_api_key="",  # or the SDK would read one from the environment
            http_client=connection.client,
        )
        said = {**sdk.default_headers, **(sdk.auth_headers if self._key else {})}
        self._headers = [(name, value) for name, value in said.items() if isinstance(value, str)]
        return connection

    def _reply(self, answer: object) -> ChatReply:
        """The answer as a value, if it is one.

        Raises:
            ApiError: It is an error, is no chat completion, was filtered, refused or cut off, or says nothing; with its
                bill, where it was paid for all the same.
        """
        if not isinstance(answer, Mapping):
            raise self._fault(MalformedReply, "it is not a JSON object")
        usage = self._usage(answer)
        try:
            text = self._text(answer)
        except ApiError as error:
            if answer.get("choices") or isinstance(answer.get("usage"), Mapping):
                error.bill = Bill(usage.input_tokens, usage.output_tokens, usage.cost_usd)
            raise
        model = answer.get("model")
        return ChatReply(text=text, model=model if isinstance(model, str) else self._endpoint.model, usage=usage)

    def _text(self, answer: Mapping[str, Any]) -> str:
        """The text of the answer, which is never empty and ended by itself."""
        if answer.get("error"):
            raise self._error_in_a_200(answer)
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
            raise self._fault(MalformedReply, "it has no choices")
        text, finish = _content(message.get("content")), choice.get("finish_reason")
        if finish == "content_filter":
            raise self._fault(ContentFiltered, raw=text)
        if message.get("refusal"):
            raise self._fault(Refused, str(message["refusal"]), raw=str(message["refusal"]))
        if finish in {"length", "max_tokens"}:
            raise self._fault(TruncatedReply, raw=text)
        if finish not in _ENDED_BY_ITSELF:
            raise self._fault(MalformedReply, f"it ended for the reason {str(finish)[:40]!r}")
        if not text.strip():
            raise self._fault(MalformedReply, "its text is empty")
        return text

    def _error_in_a_200(self, answer: Mapping[str, Any]) -> ApiError:
        error = answer["error"]
        code = error.get("code") if isinstance(error, Mapping) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else None
        return self._fault(faults.classify(status, faults.codes(answer)), faults.quote_of(answer), status=status)

    def _usage(self, answer: Mapping[str, Any]) -> Usage:
        counts = answer.get("usage")
        if not isinstance(counts, Mapping):
            return Usage(calls=1)  # nothing known, so no cost of 0 either
        tokens_in, tokens_out = _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))
        endpoint = self._endpoint
        prices = (endpoint.price_in, endpoint.price_out)
        return Usage(
            calls=1,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            cost_usd=cost_usd(endpoint.model, endpoint.base_url, tokens_in, tokens_out, prices),
        )

    def _fault(self, kind: type[ApiError], quote: str = "", *, status: int | None = None, raw: str = "") -> ApiError:
        error = faults.fault(kind, quote, secret=self._key, status=status)
        error.raw = raw
        return error

    @property
    def _key(self) -> str:
        return self._api_key.get_secret_value()


def _message(message: Message) -> dict[str, JsonValue]:
    # Some servers' chat templates take a list of parts for pictures only, so plain text is sent as plain text.
    if all(isinstance(part, Text) for part in message.parts):
        text = "\n".join(part.text for part in message.parts if isinstance(part, Text))
        return {"role": message.role, "content": _whole(text)}
    return {"role": message.role, "content": [_part(part) for part in message.parts]}


def _part(part: Part) -> dict[str, JsonValue]:
    if isinstance(part, Media):
        kind = "video_url" if part.mime.startswith("video/") else "image_url"
        return {"type": kind, kind: {"url": f"data:{part.mime};base64,{base64.b64encode(part.data).decode('ascii')}"}}
    return {"type": "text", "text": _whole(part.text)}


def _content(content: object) -> str:
    """The text of a reply; some servers give it as a list of parts."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(text for text in texts if isinstance(text, str))
    return _whole(content) if isinstance(content, str) else ""


def _is_page(content: bytes) -> bool:
    return content.lstrip()[:1] == b"<"


def _whole(text: str) -> str:
    """The text with lone surrogates replaced: JSON lets a model write them, and no file or request can hold them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
