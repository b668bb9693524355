"""Cleaning of replies: separates the answer from the thoughts, in characters that are safe to store and show.

All replies pass here, those from the cache too: the journal stores them as received, so replies paid for by earlier
releases are cleaned by the current rules, without another request.
"""

from __future__ import annotations

from dataclasses import replace

from lvqa_ray.errors import DegenerateReply
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest, audio_seconds
from lvqa_ray.llm.replies.repetition import repetition
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.llm.replies.thoughts import thoughts_in
from lvqa_ray.records.safe_text import safe_text


class Cleaning:
    """Removes drafts, wrappers, template tokens and unsafe characters from each reply.

    Transcripts pass unchanged: they are built from fields of their own, see `llm.transport.transcriptions`.

    Args:
        inner: The call, with the cache in it.
    """

    def __init__(self, inner: Chat) -> None:
        self._inner = inner

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Send the request and clean the reply.

        Returns:
            The reply; its text is empty if it holds no answer, or none that can be separated from its draft.

        Raises:
            DegenerateReply: The reply repeats itself endlessly. With ``engine.retry_failures`` a cached one is sent
                again.
            ApiError: Raised by the inner call.
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
    """The reply with its answer as ``text``, the received text as ``raw``, and the thoughts in either of them.

    Raises:
        DegenerateReply: The answer repeats itself endlessly.
    """
    received = safe_text(reply.text)
    text = strip_thinking(received)
    if fault := repetition(text):
        usage = reply.usage
        error = DegenerateReply(f"The reply is degenerate: {fault}.")
        error.raw, error.cached = received[:RAW_CHARS], bool(usage.cached)
        error.bill = usage.bill
        raise error
    if text == received.strip():
        text = received  # keeps outer white space, as earlier releases stored it
        drafted = ""
    else:
        drafted = thoughts_in(received, text)
    thoughts = safe_text(reply.thoughts).strip() or drafted
    return replace(reply, text=text, raw=received, thoughts=thoughts, model=safe_text(reply.model))


RAW_CHARS = 4000
"""Maximum characters of a degenerate reply in its failure."""
