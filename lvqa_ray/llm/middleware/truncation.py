"""Asking once more, differently, where the same request would fail in the same way."""

from __future__ import annotations

from dataclasses import replace

from lvqa_ray.errors import ApiError, BadRequest, TooLong, TruncatedReply
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest
from lvqa_ray.records import Usage

LARGER = 2
"""A reply that was cut off is asked for with this many times the tokens."""


class RetryTruncated:
    """Asks for a reply that was cut off once more, with twice the tokens.

    Where neither request nor endpoint set ``max_tokens``, it was the model's own limit, and nothing can be done. It
    belongs outside the journal, so that each of the two requests has a key of its own.

    It also remembers that an endpoint refused a request with a schema: later ones are not even sent, and the stage,
    which knows how to ask without one, does so at once.

    Args:
        inner: The call.
        endpoint: Whose ``max_tokens`` holds where the request has none.
    """

    def __init__(self, inner: Chat, endpoint: Endpoint) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._takes_schemas = True

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Ask, and ask again where that can mend it.

        Returns:
            The answer; its usage holds what the first reply cost.

        Raises:
            ApiError: What the last call ended with.
        """
        if request.reply_schema is not None and not self._takes_schemas:
            raise BadRequest(f"{self._endpoint.label} did not take a JSON schema before.", status=400)
        try:
            return await self._inner(request)
        except BadRequest as error:
            if request.reply_schema is not None and not isinstance(error, TooLong):
                self._takes_schemas = False
            raise
        except TruncatedReply as error:
            limit = self._endpoint.max_tokens if request.max_tokens is None else request.max_tokens
            if limit is None:
                raise
            cut = error
        try:
            reply = await self._inner(replace(request, max_tokens=LARGER * limit))
        except ApiError as error:
            error.raw = error.raw or cut.raw
            raise
        return replace(reply, usage=Usage.of(cut) + reply.usage)
