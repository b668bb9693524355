"""OpenAI chat completion without a model: parses the request, and calls the function in `REPLIES` for its stage.

Token counts are estimates, since there is no tokenizer: one token per four characters of text, and the default of
`family_of` per image.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from lvqa_ray.demo.pictures import BadBody, Picture, open_clip, open_picture
from lvqa_ray.demo.replies import REPLIES, Asked, caption
from lvqa_ray.llm.endpoint import DEMO_MODEL
from lvqa_ray.llm.image_tokens import family_of
from lvqa_ray.llm.messages import CHARS_PER_TOKEN

_DATA_URL = re.compile(r"data:(image|video)/[\w.+-]+;base64,")
_Limit = Annotated[int, Field(ge=1, strict=True)]


class _Url(BaseModel):
    url: str


class _ContentPart(BaseModel):
    type: Literal["text", "image_url", "video_url"]
    text: str = ""
    image_url: _Url = _Url(url="")
    video_url: _Url = _Url(url="")


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_ContentPart] | None = None

    @property
    def parts(self) -> list[_ContentPart]:
        return [_ContentPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content or []


class _StageFacts(BaseModel):
    """Name and facts of the requesting stage, as sent by our client."""

    stage: str = ""
    facts: dict[str, Any] = {}


class _TemplateArguments(BaseModel):
    """Arguments of the chat template that turn thinking on, as for vLLM."""

    enable_thinking: bool = False


ThoughtsForm = Literal["reasoning", "reasoning_content", "tags", "parts"]


class _Body(BaseModel):
    model: str
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    stream: Literal[False] | None = None
    n: Literal[1] | None = None
    response_format: dict[str, Any] = {}
    lvqa: _StageFacts = _StageFacts()
    chat_template_kwargs: _TemplateArguments = _TemplateArguments()
    thoughts_form: ThoughtsForm = "reasoning"


def complete(data: bytes) -> dict[str, object]:
    """Turn the body of a chat completion request into a ``chat.completion`` object.

    Raises:
        BadBody: The body is not a valid request.
    """
    try:
        body = _Body.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        code = "invalid_json" if first["type"] == "json_invalid" else "invalid_request"
        raise BadBody(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.".lstrip(": "), code=code) from None
    if body.model != DEMO_MODEL:
        message = f"There is no model {body.model!r} here, only {DEMO_MODEL!r}."
        raise BadBody(message, code="model_not_found", status=404)
    stage = body.lvqa.stage
    if stage and stage not in REPLIES:
        message = f"The demo endpoint has no reply for the stage {stage!r}, only for {', '.join(REPLIES)}."
        raise BadBody(message, code="unknown_stage")
    parts = [part for message in body.messages for part in message.parts]
    pictures = _pictures(
        [getattr(part, part.type).url for part in parts if part.type != "text"], body.lvqa.facts.get("times", [])
    )
    as_json = body.response_format.get("type") == "json_schema"
    whole = REPLIES.get(stage, caption)(Asked(body.lvqa.facts, pictures, as_json))
    limit = body.max_completion_tokens or body.max_tokens
    thoughts, whole = _parted(whole) if body.chat_template_kwargs.enable_thinking else ("", whole)
    text = whole[: limit and limit * CHARS_PER_TOKEN]
    prompt_tokens = _tokens("".join(part.text for part in parts))
    prompt_tokens += sum(family_of(DEMO_MODEL).tokens(*picture.pixels.shape[1::-1]) for picture in pictures)
    finish = "stop" if text == whole else "length"
    return {
        "id": f"chatcmpl-{hashlib.sha256(text.encode()).hexdigest()[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": DEMO_MODEL,
        "choices": [{"index": 0, "message": _message(thoughts, text, body.thoughts_form), "finish_reason": finish}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": _tokens(thoughts + text),
            "total_tokens": prompt_tokens + _tokens(thoughts + text),
        },
    }


def _parted(reply: str) -> tuple[str, str]:
    """The thoughts and the answer of a reply: what is before its last line, if that is an answer."""
    thoughts, line, answer = reply.rpartition("ANSWER:")
    return (thoughts.strip(), line + answer) if thoughts.strip() else (NO_REASONS, reply)


NO_REASONS = "I measure, and put into words what I measure."


def _message(thoughts: str, text: str, form: ThoughtsForm) -> dict[str, object]:
    """The message of a reply, with thoughts in one of the forms of real servers."""
    said: dict[str, object] = {"role": "assistant", "content": text}
    if not thoughts:
        return said
    match form:
        case "tags":
            return said | {"content": f"<think>\n{thoughts}\n</think>\n\n{text}"}
        case "parts":
            parts = [{"type": "thinking", "thinking": [{"type": "text", "text": thoughts}]}]
            return said | {"content": [*parts, {"type": "text", "text": text}]}
        case _:
            return said | {form: thoughts}


def _pictures(urls: Sequence[str], times: Sequence[float]) -> list[Picture]:
    """Decode images and clips to frames, with their times in the video where known."""
    pictures: list[Picture] = []
    for number, (url, time_s) in enumerate(zip_longest(urls, times[: len(urls)]), 1):
        match = _DATA_URL.match(url)
        if match is None:
            message = "Pictures and clips must come as base64 data URLs; nothing is fetched."
            raise BadBody(message, code="invalid_image_url")
        try:
            data = base64.b64decode(url[match.end() :], validate=True)
        except binascii.Error as error:
            raise BadBody("A data URL does not hold base64.", code="invalid_image") from error
        if match[1] == "video":
            pictures += open_clip(data, time_s or 0.0)
        else:
            pictures.append(open_picture(data, f"frame {number}" if time_s is None else f"{time_s:.2f} s"))
    return pictures


def _tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)
