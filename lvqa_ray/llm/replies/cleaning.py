"""Cleaned replies: the answer proper, in characters that are safe to store and to show.

This is the one place where replies enter, those from the journal too: the journal keeps what was received, so an
answer that an earlier release has paid for is cleaned like any other, and is not asked for again.
"""

from __future__ import annotations

from dataclasses import replace

from lvqa_ray.errors import Bill, DegenerateReply
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest, audio_seconds
from lvqa_ray.llm.replies.repetition import repetition
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.records.safe_text import safe_text


class Cleaning:
    """Hands on each reply without its draft, its wrapper, template tokens and unsafe characters.

    A transcript is left alone: it is made from fields of its own, see `llm.transcription`.

    Args:
        inner: The call, with the journal in it.
    """

    def __init__(self, inner: Chat) -> None:
        self._inner = inner

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Ask, and clean the reply.

        Returns:
            The reply; its text is empty where it holds no answer, or none that can be told from its draft.

        Raises:
            DegenerateReply: It repeats itself without an end. A run that does failures again asks anew.
            ApiError: What the inner call raises.
        """
        reply = await self._inner(request)
        if audio_seconds(request):
            return reply
        try:
            return cleaned(reply)
        except DegenerateReply:
            if not reply.usage.cached or request.stale:
                raise
        return cleaned(await self._inner(replace(request, stale=True)))


def cleaned(reply: ChatReply) -> ChatReply:
    """The reply with its answer proper as its text, and what was received as ``raw``.

    Raises:
        DegenerateReply: The answer repeats itself without an end.
    """
    received = safe_text(reply.text)
    text = strip_thinking(received)
    if fault := repetition(text):
        usage = reply.usage
        error = DegenerateReply(f"The reply is degenerate: {fault}.")
        error.raw, error.cached = received[:RAW_CHARS], bool(usage.cached)
        error.bill = Bill(usage.input_tokens, usage.output_tokens, usage.cost_usd)
        raise error
    if text == received.strip():
        text = received  # white space at the ends is left as earlier releases stored it
    return replace(reply, text=text, raw=received, model=safe_text(reply.model))


RAW_CHARS = 4000
"""Characters of a degenerate reply that its failure shows."""
