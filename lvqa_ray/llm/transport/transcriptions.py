"""Speech-to-text transport: one request to ``/audio/transcriptions``, returned as an ordinary text reply."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx2
from pydantic import SecretStr

from lvqa_ray.errors import ApiError, BadRequest, MalformedReply, TooLong
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Text
from lvqa_ray.llm.pricing import sound_usd
from lvqa_ray.llm.rate_headers import RateInfo
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.records import Usage
from lvqa_ray.records.transcript import Segment, Transcript

NO_SPEECH, UNSURE = 0.6, -1.0
"""whisper itself takes a segment as silence above this probability of no speech and below this log probability."""
AUDIO_SUFFIXES = {"audio/ogg": "ogg", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/wav": "wav"}


class Transcriber(OpenAITransport):
    """Sends audio to a speech-to-text endpoint, once per call: no retries, no limits, no cache.

    A request holds one part with the audio; its texts, if any, are the prompt. If the endpoint supports no timestamps,
    the transcript is one segment as long as the audio.

    Args:
        endpoint: The endpoint.
        api_key: The key; empty for none.
    """

    def __init__(self, endpoint: Endpoint, api_key: SecretStr) -> None:
        super().__init__(endpoint, api_key)
        self._transcriptions = self._url("/audio/transcriptions")
        self._timed = True

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Send the request once, or twice if the endpoint turns out to support no timestamps.

        Raises:
            ApiError: There was no usable answer.
        """
        parts = [part for message in request.messages for part in message.parts]
        (audio,) = (part for part in parts if isinstance(part, Media))
        hint = " ".join(part.text for part in parts if isinstance(part, Text)).strip()
        body: dict[str, Any] = {
            **{name: _field(value) for name, value in self._endpoint.sampling(request).items()},
            "model": self._endpoint.model,
            **({"prompt": hint} if hint else {}),
            "file": audio,
        }
        if self._timed:
            timed = body | {"response_format": "verbose_json", "timestamp_granularities[]": "segment"}
            try:
                return self._reply_of(*await self._ask("POST", self._transcriptions, timed), audio)
            except BadRequest as error:
                if isinstance(error, TooLong):
                    raise
        answer, limits = await self._ask("POST", self._transcriptions, body | {"response_format": "json"})
        self._timed = False  # only now: the first request may have failed because of the audio
        return self._reply_of(answer, limits, audio)

    def _request(self, method: str, url: httpx2.URL, body: dict[str, Any] | None) -> httpx2.Request:
        """Build a multipart form with the audio as a file."""
        if body is None:
            return super()._request(method, url, body)
        audio = body["file"]
        return httpx2.Request(
            method,
            url,
            headers=[(name, value) for name, value in self._headers if name.lower() != "content-type"],
            data={name: value for name, value in body.items() if name != "file"},
            files={"file": (f"sound.{AUDIO_SUFFIXES.get(audio.mime, 'bin')}", audio.data, audio.mime)},
            extensions={"timeout": self._timeouts},
        )

    def _reply_of(self, answer: object, limits: RateInfo | None, audio: Media) -> ChatReply:
        """Convert the JSON of a reply.

        Raises:
            ApiError: It is an error, or no transcript; with its bill.
        """
        if not isinstance(answer, Mapping):
            raise self._fault(MalformedReply, "it is not a JSON object")
        if answer.get("error"):
            raise self._error_in_a_200(answer)
        usage = self._cost(answer.get("usage"), audio)
        try:
            segments = self._segments(answer, audio.seconds)
        except ApiError as error:
            error.bill, error.limits = usage.bill, limits
            raise
        language = answer.get("language")
        transcript = Transcript(segments, language if isinstance(language, str) else "")
        model = answer.get("model")
        model = model if isinstance(model, str) and model else self._endpoint.model
        return replace(ChatReply(text=transcript.text, model=model, usage=usage), limits=limits)

    def _segments(self, answer: Mapping[str, Any], seconds: float) -> tuple[Segment, ...]:
        given, text = answer.get("segments"), answer.get("text")
        if not isinstance(given, list):
            if not isinstance(text, str):
                raise self._fault(MalformedReply, "it has neither segments nor a text")
            return (Segment(0.0, seconds, " ".join(text.split())),) if text.strip() else ()
        found = [self._segment(each, seconds) for each in given]
        return tuple(sorted(segment for segment in found if segment is not None))

    def _segment(self, given: object, seconds: float) -> Segment | None:
        """Parse a segment; ``None`` if it is silence."""
        if not isinstance(given, Mapping):
            raise self._fault(MalformedReply, "a segment is no JSON object")
        text, start, end = given.get("text"), _number(given.get("start")), _number(given.get("end"))
        if not isinstance(text, str) or start is None or end is None or end < start:
            raise self._fault(MalformedReply, "a segment lacks its text or its times")
        no_speech, sure = _number(given.get("no_speech_prob")), _number(given.get("avg_logprob"))
        silent = no_speech is not None and sure is not None and no_speech > NO_SPEECH and sure < UNSURE
        start, end = max(0.0, start), min(end, seconds)  # whisper's last segment may end after the audio
        return None if silent or not text.strip() or end <= start else Segment(start, end, " ".join(text.split()))

    def _cost(self, usage: object, audio: Media) -> Usage:
        """Usage in seconds or tokens as the endpoint reports it, else by the duration of the audio."""
        counts: Mapping[str, Any] = usage if isinstance(usage, Mapping) else {}
        tokens_in, tokens_out = (int(_number(counts.get(name)) or 0) for name in ("input_tokens", "output_tokens"))
        details = counts.get("input_token_details")
        audio_tokens = int(_number(details.get("audio_tokens")) or 0) if isinstance(details, Mapping) else 0
        seconds = _number(counts.get("seconds")) or audio.seconds
        cost = sound_usd(self._endpoint, seconds, tokens_in, tokens_out, audio_tokens=audio_tokens)
        return Usage(calls=1, input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=cost)


def _field(value: object) -> object:
    """A value as a form field."""
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: object) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if plain else None  # type: ignore[arg-type]


def wire(endpoint: Endpoint, api_key: SecretStr, *, sound: bool) -> OpenAITransport:
    """The transport to an endpoint, for audio or for chat."""
    return Transcriber(endpoint, api_key) if sound else OpenAITransport(endpoint, api_key)
