"""Retry of truncated replies, once, with a larger ``max_tokens``."""

from __future__ import annotations

from dataclasses import replace

from lvqa_ray.errors import ApiError, BadRequest, TooLong, TruncatedReply
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest
from lvqa_ray.records import Usage

LARGER = 2
"""Factor on ``max_tokens`` after a truncated reply."""


class RetryTruncated:
    """Retries a truncated reply once, with twice the ``max_tokens``.

    If neither the request nor the endpoint sets ``max_tokens``, the model's own limit was hit, and the error is final.
    It belongs outside the cache, so that each of the two requests has its own key.

    It also remembers that an endpoint rejected a JSON schema: later requests with a schema fail here at once, and the
    stage sends them without one.

    Args:
        inner: The call.
        endpoint: The endpoint, for its default ``max_tokens``.
    """

    def __init__(self, inner: Chat, endpoint: Endpoint) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._takes_schemas = True

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Send, and send once more if the reply is truncated.

        Returns:
            The reply; its usage includes the truncated one.

        Raises:
            ApiError: Raised by the last call.
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
