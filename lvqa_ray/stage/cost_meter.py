"""Cost meter: total usage of several requests, including failed ones."""

from __future__ import annotations

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest
from lvqa_ray.records import Usage


class CostMeter:
    """Forwards requests and sums their usage, also if one fails after others were paid.

    Attributes:
        usage: Total so far.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self.usage = Usage()
        self._raised: list[ApiError] = []

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Send a request; see `Chat`."""
        try:
            reply = await self._chat(request)
        except ApiError as error:
            self.usage += Usage.of(error)
            self._raised.append(error)
            raise
        self.usage += reply.usage
        return reply

    def by(self, error: ApiError) -> Usage:
        """Total usage including the reply of this error, counted once."""
        return self.usage if error in self._raised else self.usage + Usage.of(error)
