"""Messages as the JSON of the chat completions API."""

from __future__ import annotations

import base64

from pydantic import JsonValue

from lvqa_ray.llm.messages import Media, Message, Part, Text


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates, which JSON allows and UTF-8 does not."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_message(message: Message) -> dict[str, JsonValue]:
    """A message in the API's format."""
    # Some servers' chat templates take a list of parts only for images, so plain text is sent as a string.
    if all(isinstance(part, Text) for part in message.parts):
        text = "\n".join(part.text for part in message.parts if isinstance(part, Text))
        return {"role": message.role, "content": replace_surrogates(text)}
    return {"role": message.role, "content": [_part(part) for part in message.parts]}


def _part(part: Part) -> dict[str, JsonValue]:
    if isinstance(part, Media):
        kind = "video_url" if part.mime.startswith("video/") else "image_url"
        return {"type": kind, kind: {"url": f"data:{part.mime};base64,{base64.b64encode(part.data).decode('ascii')}"}}
    return {"type": "text", "text": replace_surrogates(part.text)}
