"""A chat completion without a model: which of the job's requests a body is, and the reply that is made for it.

What a request is shows in its text: merged captions with ``QUESTION:`` and ``OPTIONS:`` ask for a question, pictures
ask for a caption, a reason that begins ``Start thinking.`` asks for prose, and a question that is to end with a line
``ANSWER:`` asks for its answer; captions to be summed up are thinned out, what is asked about a film as a whole is told
from its captions, claims about pictures get a score, and the points of a rubric a yes or a no. Anything else gets a
sentence that says what this endpoint is.

Token counts are estimates, since there is no tokenizer: a token for four characters of text, and for a picture one for
every 28 x 28 pixels, which is what common vision models count.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lvqa_ray.demo import answer, clip, compose, describe, digest, facts, judge, prose, whole
from lvqa_ray.demo.describe import NotAPicture, Picture
from lvqa_ray.demo.reel import CAPTION_LINE
from lvqa_ray.llm.messages import CHARS_PER_TOKEN
from lvqa_ray.qa.formats.json_format import render_json_question, render_json_questions
from lvqa_ray.qa.formats.multi_question import render_questions
from lvqa_ray.qa.formats.text_format import parse_question

MODEL = "lvqa-demo-no-vlm"
DEMO_MODEL_HELP = (
    f"This is {MODEL}, a stand-in that is no vision-language model. It measures light, colours, movement, changes of "
    "shot and text in frames, composes multiple-choice questions from such descriptions, answers and judges its own "
    "from them, and joins reasons into prose."
)
ABOUT = f"{DEMO_MODEL_HELP} This request asks for none of these."
PIXELS_PER_TOKEN_SIDE = 28
MAX_PICTURES = 256

_ROLES = ("system", "developer", "user", "assistant", "tool")
_LABELS = ("QUESTION:", "OPTIONS:")
_COUNT = re.compile(r"\bWrite (\d+) ")
_DATA_URL = re.compile(r"data:(image|video)/[\w.+-]+;base64,")
_FRAME_TIME = re.compile(r"[Ff]rame at (\d+(?:\.\d+)?) s")
_CLIP_TIME = re.compile(r"from (\d+(?:\.\d+)?) s to \d+(?:\.\d+)? s:")


class BadBody(ValueError):
    """A request that cannot be answered.

    Args:
        message: One sentence that says why.
        code: Machine-readable name of the reason.
        status: HTTP status.
    """

    def __init__(self, message: str, *, code: str = "invalid_request", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """A request body, read.

    Attributes:
        text: All that the user said, in order.
        length: Characters of all messages.
        pictures: Frames, in order.
        timed_from_clip: Whether the frames' times count from the start of a clip and not of the video.
        max_tokens: Longest reply in tokens, if limited.
        as_json: Whether the reply is to follow the job's JSON schema of a question.
    """

    text: str
    length: int
    pictures: tuple[Picture, ...]
    timed_from_clip: bool
    max_tokens: int | None
    as_json: bool


def complete(body: object) -> dict[str, object]:
    """Answer a chat completion request.

    Args:
        body: The request's JSON.

    Returns:
        A ``chat.completion`` object.

    Raises:
        BadBody: The body is not one that can be answered.
    """
    asked = _read(body)
    try:
        text = _reply(asked)
    except NotAPicture as error:
        raise BadBody(f"{error}.", code="invalid_image") from error
    limit = None if asked.max_tokens is None else asked.max_tokens * CHARS_PER_TOKEN
    cut = limit is not None and len(text) > limit
    text = text[:limit] if cut else text
    prompt_tokens = _tokens(asked.length) + sum(_picture_tokens(picture) for picture in asked.pictures)
    return {
        "id": f"chatcmpl-{hashlib.sha256(text.encode()).hexdigest()[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "length" if cut else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": _tokens(len(text)),
            "total_tokens": prompt_tokens + _tokens(len(text)),
        },
    }


def _reply(asked: Asked) -> str:
    lines = digest.wanted(asked.text)
    if told := digest.digest(asked.text, lines) if lines else judge.judge(asked.text) or whole.tell(asked.text):
        return told
    if (question := answer.find(asked.text)) is not None:
        return answer.answer(question, asked.text)
    if CAPTION_LINE.search(asked.text) and (asked.as_json or all(label in asked.text for label in _LABELS)):
        return _questions(asked)
    if asked.pictures:
        seen = describe.describe(asked.pictures)
        if scored := answer.score(asked.text, seen):
            return scored
        caption = facts.render(seen)
        return f"{facts.CLIP_TIMES} {caption}" if asked.timed_from_clip else caption
    request = prose.find(asked.text)
    return ABOUT if request is None else prose.rewrite(request)


def _questions(asked: Asked) -> str:
    """As many questions as are asked for, in the format that is asked for."""
    count = _COUNT.search(asked.text)
    written = compose.compose_several(asked.text, int(count[1]) if count else 1)
    if not written:
        return compose.REFUSAL
    if not count:
        return render_json_question(parse_question(written[0][1])) if asked.as_json else written[0][1]
    questions = [(category, parse_question(text)) for category, text in written]
    return render_json_questions(questions) if asked.as_json else render_questions(questions)


def _read(body: object) -> Asked:
    if not isinstance(body, Mapping):
        raise BadBody("The body must be a JSON object.")
    model = body.get("model")
    if not isinstance(model, str):
        raise BadBody("'model' must be given as a string.")
    if model != MODEL:
        raise BadBody(f"There is no model {model!r} here, only {MODEL!r}.", code="model_not_found", status=404)
    if body.get("stream"):
        raise BadBody("Streaming is not supported: leave 'stream' out.", code="unsupported_value")
    if body.get("n") not in (None, 1):
        raise BadBody("Only one choice is made: leave 'n' out.", code="unsupported_value")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise BadBody("'max_tokens' must be a whole number of at least 1.")
    messages = body.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise BadBody("'messages' must be a list with at least one message.")
    wanted = body.get("response_format")
    as_json = isinstance(wanted, Mapping) and wanted.get("type") == "json_schema"
    return _read_messages(messages, limit, as_json=as_json)


def _read_messages(messages: Sequence[object], limit: int | None, *, as_json: bool) -> Asked:
    length = 0
    said: list[str] = []
    media: list[tuple[str, str]] = []  # what was said since the picture before, and the URL
    since = ""
    for message in messages:
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(message, Mapping) or role not in _ROLES:
            raise BadBody(f"Each message must be an object with a 'role' out of {', '.join(_ROLES)}.")
        for kind, value in _parts(message.get("content")):
            length += len(value) if kind == "text" else 0
            if role != "user":
                continue
            if kind == "text":
                said.append(value)
                since += f"\n{value}"
            else:
                media.append((since, value))
                since = ""
    if len(media) > MAX_PICTURES:
        raise BadBody(f"More than {MAX_PICTURES} pictures in one request.")
    pictures, timed_from_clip = _open(media)
    return Asked("\n".join(said), length, pictures, timed_from_clip, limit, as_json)


def _parts(content: object) -> list[tuple[str, str]]:
    """The parts of a message as ``(kind, text or URL)``, kind being ``text`` or ``media``."""
    if content is None:
        return []
    if isinstance(content, str):
        return [("text", content)]
    if not isinstance(content, Sequence):
        raise BadBody("'content' must be a string or a list of parts.")
    parts: list[tuple[str, str]] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        value = part.get(kind) if isinstance(part, Mapping) and isinstance(kind, str) else None
        if kind in ("image_url", "video_url"):
            value = value.get("url") if isinstance(value, Mapping) else value
        elif kind != "text":
            raise BadBody("A part's 'type' must be text, image_url or video_url.", code="unsupported_value")
        if not isinstance(value, str):
            raise BadBody(f"A part of type {kind} has no {kind!r}.")
        parts.append(("text" if kind == "text" else "media", value))
    return parts


def _open(media: Sequence[tuple[str, str]]) -> tuple[tuple[Picture, ...], bool]:
    """The pictures, and whether their times count from the start of a clip."""
    times = [_FRAME_TIME.findall(before) for before, _ in media]
    timed = all(times)
    pictures: list[Picture] = []
    timed_from_clip = False
    for index, (before, url) in enumerate(media):
        kind, data = _decode_url(url)
        try:
            if kind == "video":
                starts = _CLIP_TIME.findall(before)
                timed_from_clip = timed_from_clip or not starts
                pictures += clip.sample(data, float(starts[-1]) if starts else 0.0)
            else:
                moment = f"{float(times[index][-1]):.2f} s" if timed else f"frame {index + 1}"
                pictures.append(describe.open_picture(data, moment))
        except NotAPicture as error:
            raise BadBody(f"Picture {index + 1} of the request: {error}.", code="invalid_image") from error
    return tuple(pictures), timed_from_clip


def _decode_url(url: str) -> tuple[str, bytes]:
    match = _DATA_URL.match(url)
    if match is None:
        raise BadBody("Pictures and clips must come as base64 data URLs; nothing is fetched.", code="invalid_image_url")
    try:
        return match[1], base64.b64decode(url[match.end() :], validate=True)
    except binascii.Error as error:
        raise BadBody("A data URL does not hold base64.", code="invalid_base64") from error


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)


def _picture_tokens(picture: Picture) -> int:
    return -(-picture.width // PIXELS_PER_TOKEN_SIDE) * -(-picture.height // PIXELS_PER_TOKEN_SIDE)
