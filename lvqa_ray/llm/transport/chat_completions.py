"""Transport of chat completions: sends one request through the openai SDK's HTTP client and validates its reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NoReturn

import httpx2
from pydantic import SecretStr

from lvqa_ray.errors import ApiError, BadRequest, Disconnected, MalformedReply
from lvqa_ray.llm.endpoint import CACHE_KEY, Endpoint
from lvqa_ray.llm.message_json import as_message, replace_surrogates
from lvqa_ray.llm.messages import CHARS_PER_TOKEN, ChatReply, ChatRequest
from lvqa_ray.llm.price_tiers import Tier
from lvqa_ray.llm.pricing import cost_usd
from lvqa_ray.llm.rate_headers import RateInfo
from lvqa_ray.llm.reasoning import streams_thoughts
from lvqa_ray.llm.token_counts import usage_of
from lvqa_ray.llm.transport import completion, error_mapping, sse
from lvqa_ray.llm.transport.connection import CLIENT_ERRORS, Connection
from lvqa_ray.llm.transport.error_body import quote_of
from lvqa_ray.llm.transport.error_prose import NO_TEMPERATURE, STREAM_ONLY, STREAM_OPTIONS, STREAM_REFUSED
from lvqa_ray.llm.transport.model_list import ModelList
from lvqa_ray.llm.transport.tier_faults import keeps_waiting
from lvqa_ray.records import Usage
from lvqa_ray.records.safe_text import safe_text

ENDPOINT_CONNECT_S = 30.0
LONGEST_NAME = 200
"""Maximum characters of a model's name in a reply."""
COMPLETIONS = "/chat/completions"
Shown = Callable[[str], object]
"""Called with all of a text so far."""
MAX_TOKENS, MAX_COMPLETION = "max_tokens", "max_completion_tokens"
FULL_PRICE = frozenset({"default", "standard", "auto"})
"""Tiers that a reply may name instead of the requested one."""


class OpenAITransport:
    """Sends a request to one endpoint once: no retries, no limits, no cache.

    The SDK does not validate its typed replies, so the reply is read as plain JSON and validated here.
    The client is created at the first call, inside the event loop that uses it.

    Args:
        endpoint: The endpoint.
        api_key: The key; empty for none.
    """

    def __init__(self, endpoint: Endpoint, api_key: SecretStr) -> None:
        self._endpoint = endpoint
        self._api_key = api_key
        self._client: Connection | None = None
        self._token_limit = MAX_TOKENS
        self._completions = self._url(COMPLETIONS)
        self._headers: list[tuple[str, str]] = []
        timeout_s = endpoint.attempt_timeout_s
        self._timeouts = httpx2.Timeout(timeout_s, connect=min(ENDPOINT_CONNECT_S, timeout_s)).as_dict()
        standard = endpoint.tier_url if endpoint.is_served else endpoint.base_url
        self._standard_completions = httpx2.URL(f"{standard.rstrip('/')}{COMPLETIONS}")
        self._names_prefix = endpoint.sends_cache_key
        self._streams = endpoint.stream or streams_thoughts(endpoint.base_url, endpoint.reasoning)
        self._sends_temperature = True
        self._can_stream = True  # for requests that show their text while it grows
        self._stream_usage = True  # ask for usage in the last event of a stream

    def __repr__(self) -> str:
        return f"OpenAITransport({self._endpoint.label})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("An OpenAITransport holds a key and a connection: make it where it is used.")

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Send the request once; again, at no cost, if the endpoint needs another form (see `adapt`).

        Raises:
            ApiError: There was no usable answer.
        """
        tier = self._tier(request)
        url = self._standard_completions if request.standard else self._completions
        while True:
            body = self._body(request)
            try:
                shown = request.on_text if "stream" in body else None
                answer, limits = await self._ask("POST", url, body, shown, tier)
                break
            except BadRequest as error:
                if not self.adapt(error, body):
                    raise
        try:
            return replace(self._reply(answer, tier), limits=limits)
        except ApiError as error:
            error.limits = limits
            raise

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            **self._endpoint.sampling(request),
            "model": self._endpoint.model,
            "messages": [as_message(message) for message in request.messages],
        }
        if MAX_TOKENS in body:
            body[self._token_limit] = body.pop(MAX_TOKENS)
        if not self._sends_temperature:
            body.pop("temperature", None)
        if self._endpoint.is_demo and request.facts:
            facts = {
                name: replace_surrogates(fact) if isinstance(fact, str) else fact
                for name, fact in request.facts.items()
            }
            body["lvqa"] = {"stage": request.stage, "facts": facts}
        if self._tier(request) == "flex":
            body["service_tier"] = "flex"
        if request.prefix and self._names_prefix:
            body[CACHE_KEY] = request.prefix
        if self._streams or (request.on_text is not None and self._can_stream):
            body["stream"] = True
            if self._stream_usage:
                body.setdefault("stream_options", {"include_usage": True})
        return body

    def _tier(self, request: ChatRequest) -> Tier:
        return "standard" if request.standard else self._endpoint.tier

    def adapt(self, error: BadRequest, body: Mapping[str, Any]) -> bool:
        """Change the form of this and all later requests if the error asks for it; returns whether it did.

        OpenAI's reasoning models reject ``max_tokens`` and take ``max_completion_tokens``, which means the same, and
        they reject any ``temperature`` but their own. The name of an Azure deployment does not show its model, so only
        the error tells.
        """
        said = str(error)
        if MAX_TOKENS in body and MAX_COMPLETION in said:
            self._token_limit = MAX_COMPLETION
        elif CACHE_KEY in body and self._names_prefix and CACHE_KEY in said:
            self._names_prefix = False
        elif "temperature" in body and NO_TEMPERATURE.search(said):
            self._sends_temperature = False
        elif "stream" not in body and STREAM_ONLY.search(said):
            self._streams = True
        elif "stream_options" in body and self._stream_usage and STREAM_OPTIONS.search(said):
            self._stream_usage = False
        elif "stream" in body and not self._streams and STREAM_REFUSED.search(said):
            self._can_stream = False
        else:
            return False
        return True

    async def list_models(self) -> ModelList:
        """List the endpoint's models, which costs nothing.

        Raises:
            ApiError: `AuthFailed`, `NotFound` (some endpoints have no such list), `Disconnected` and others.
        """
        answer, _ = await self._ask("GET", self._url("/models"), None)
        models = ModelList.of(answer)
        if models is None:
            raise self._fault(MalformedReply, "there is no list of models")
        return models

    @property
    def moved_to(self) -> str:
        """The base URL to which the endpoint redirects requests; empty if it does not."""
        return self._client.moved_to if self._client else ""

    async def aclose(self) -> None:
        """Close the connections; a later call opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(
        self,
        method: str,
        url: httpx2.URL,
        body: dict[str, Any] | None,
        on_text: Shown | None = None,
        tier: Tier = "standard",
    ) -> tuple[object, RateInfo | None]:
        """The reply's JSON, and its rate-limit headers.

        A stream that breaks, or ends with an error, after some of its text is paid for: the error has a bill.
        """
        streamed = sse.StreamedText()
        try:
            answer = await self._exchange(method, url, body, streamed, on_text)
            if answer.is_success:
                if sse.is_stream(answer.headers.get("content-type", ""), answer.content):
                    whole = sse.assembled(answer.content.decode())
                    if streamed.text and whole.get("error"):
                        whole = {"usage": self._counts_of_part(body or {}, streamed), **whole}
                    return whole, RateInfo.of(answer.headers)
                return json.loads(answer.content), RateInfo.of(answer.headers)
            error = error_mapping.of_status(
                answer.status_code, answer.headers, answer.text, secret=self._key, tier=tier
            )
        except CLIENT_ERRORS as exc:
            waits = keeps_waiting(tier, self._endpoint.attempt_timeout_s) and not streamed.text
            error = error_mapping.as_api_error(exc, secret=self._key, waits=waits)
        except (json.JSONDecodeError, UnicodeDecodeError):
            error = self._fault(
                MalformedReply, "it is a web page" if answer.content.lstrip()[:1] == b"<" else "it is not JSON"
            )
        except sse.StreamCutError:
            error = self._fault(Disconnected, "the stream ended before the reply did")
        if streamed.text and error.bill is None:
            error.bill = self._usage({"usage": self._counts_of_part(body or {}, streamed)}, tier).bill
        raise error  # outside of `except`, so that it does not hold the client's exception with the whole request

    async def _exchange(
        self,
        method: str,
        url: httpx2.URL,
        body: dict[str, Any] | None,
        streamed: sse.StreamedText | None = None,
        on_text: Shown | None = None,
    ) -> httpx2.Response:
        """The response; errors of the HTTP client pass through."""
        client = self._client = self._client or self._open()
        async with asyncio.timeout(self._endpoint.attempt_timeout_s):
            request = self._request(method, url, body)
            if streamed is None or on_text is None:
                return await client.send(request)
            return await _received(client, request, streamed, on_text)

    @staticmethod
    def _counts_of_part(body: Mapping[str, Any], streamed: sse.StreamedText) -> Mapping[str, Any]:
        """Usage object of a stream that did not end well: its own, or an estimate from the texts."""
        if streamed.usage:
            return streamed.usage
        asked = sum(len(str(part)) for part in _texts(body.get("messages")))
        said = -(-len(streamed.text) // CHARS_PER_TOKEN)
        return {"prompt_tokens": asked // CHARS_PER_TOKEN, "completion_tokens": said}

    def _request(self, method: str, url: httpx2.URL, body: dict[str, Any] | None) -> httpx2.Request:
        """Build the request that the SDK would send, without its request options and typed replies.

        ``chat.completions.create`` takes 1.0 ms of CPU for a line of text and this transport 0.3; for 0.4 MB of images
        it is 3.0 ms and 2.1 (``python benchmarks/api.py transports``, 2,000 requests each, on an idle machine with 2
        cores). The SDK's client, timeouts, headers and authentication are used.
        """
        return httpx2.Request(
            method,
            url,
            headers=self._headers,
            content=None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
            extensions={"timeout": self._timeouts},
        )

    def _url(self, path: str) -> httpx2.URL:
        return httpx2.URL(self._endpoint.tier_url.rstrip("/") + path)

    def _open(self) -> Connection:
        connection = Connection(self._endpoint)
        self._headers = connection.headers(self._key)
        return connection

    def _reply(self, answer: object, tier: Tier = "standard") -> ChatReply:
        """Convert the JSON of a reply to a request on a tier.

        Raises:
            ApiError: It is an error or no chat completion, or the answer was filtered, refused, truncated or empty;
                with a bill if it was paid for.
        """
        if not isinstance(answer, Mapping):
            raise self._fault(MalformedReply, "it is not a JSON object")
        usage = self._usage(answer, tier)
        paid = bool(answer.get("choices")) or isinstance(answer.get("usage"), Mapping)
        try:
            read = self._read(answer, "standard" if paid else tier)
        except ApiError as error:
            if paid:
                error.bill = usage.bill
            raise
        model = answer.get("model")
        named = safe_text(model).strip()[:LONGEST_NAME] if isinstance(model, str) else ""
        return ChatReply(
            text=read.text, model=named or self._endpoint.model, usage=usage, thoughts=safe_text(read.thoughts)
        )

    def _read(self, answer: Mapping[str, Any], tier: Tier) -> completion.Answered:
        """The text of the answer, never empty, and its thoughts."""
        if completion.error_of(answer) is not None:
            raise self._error_in_a_200(answer, tier)
        outcome = completion.read(answer)
        if isinstance(outcome, completion.NoAnswer):
            raise self._fault(outcome.kind, outcome.why, raw=outcome.text)
        return outcome

    def _error_in_a_200(self, answer: Mapping[str, Any], tier: Tier = "standard") -> ApiError:
        body = completion.error_of(answer)
        code = str(body.get("code")) if isinstance(body, Mapping) else ""
        status = int(code) if code.isdecimal() and 400 <= int(code) < 600 else None
        return self._fault(error_mapping.class_of(status, body, tier=tier), quote_of(body), status=status)

    def _usage(self, answer: Mapping[str, Any], tier: Tier) -> Usage:
        counts = usage_of(answer)
        if counts is None:
            return Usage(calls=1)  # unknown cost, which is not a cost of 0
        # OpenAI's replies name the tier that was billed, which may be another one than the requested.
        tier = "standard" if answer.get("service_tier") in FULL_PRICE and tier == "flex" else tier
        return replace(counts, cost_usd=cost_usd(self._endpoint, counts, tier))

    def _fault(self, kind: type[ApiError], quote: str = "", *, status: int | None = None, raw: str = "") -> ApiError:
        error = error_mapping.fault(kind, quote, secret=self._key, status=status)
        error.raw = safe_text(raw)
        return error

    @property
    def _key(self) -> str:
        return self._api_key.get_secret_value()


async def _received(
    client: Connection, request: httpx2.Request, streamed: sse.StreamedText, on_text: Shown
) -> httpx2.Response:
    """Send a request and read its reply; the text of a stream is given out as it grows."""
    answer = await client.send(request, stream=True)
    try:
        if answer.is_success and "event-stream" in answer.headers.get("content-type", "").lower():
            parts = []
            async for part in answer.aiter_bytes():
                parts.append(part)
                if streamed.feed(part):
                    on_text(streamed.text)
            return httpx2.Response(answer.status_code, headers=_plain(answer.headers), content=b"".join(parts))
        await answer.aread()
        return answer
    finally:
        await answer.aclose()


def _plain(headers: httpx2.Headers) -> list[tuple[str, str]]:
    """Headers of a body that is decoded already."""
    encoded = ("content-encoding", "content-length", "transfer-encoding")
    return [(name, value) for name, value in headers.items() if name.lower() not in encoded]


def _texts(messages: object) -> Iterator[str]:
    """The texts in messages, as they are sent."""
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content")
        for part in [{"text": content}] if isinstance(content, str) else content or ():
            yield part.get("text") or ""
