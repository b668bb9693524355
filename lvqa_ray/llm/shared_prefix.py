"""Prompt prefix that several requests about one video share: everything up to the end of its captions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from lvqa_ray.llm.messages import CHARS_PER_TOKEN, Message, Text

LEAST_PREFIX_TOKENS = 1024
"""Estimated tokens from which a prefix counts. OpenAI and Gemini cache prompts from 1,024 tokens on, DashScope from
256."""


def shared_prefix(messages: Sequence[Message], captions: object) -> str:
    """Id of the prefix (32 hex digits) that ends with the captions; empty if it is short, or no text has them.

    Prompts of different stages have the same id if they are equal up to there, and only then, so that a long video has
    one id for each choice of windows.

    Args:
        messages: Messages of the request.
        captions: The captions in its prompt, if it has any.
    """
    if not isinstance(captions, str) or len(captions) < CHARS_PER_TOKEN * LEAST_PREFIX_TOKENS:
        return ""
    digest = hashlib.sha256()
    for message in messages:
        for part in message.parts:
            if not isinstance(part, Text):
                return ""  # pictures before the captions differ
            before, found, _ = part.text.partition(captions)
            digest.update(f"\0{message.role}\0{before}{found}".encode(errors="replace"))
            if found:
                return digest.hexdigest()[:32]
    return ""
