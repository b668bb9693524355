"""What several requests cost together, also where one of them fails."""

from __future__ import annotations

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest
from lvqa_ray.records import Usage


class CostMeter:
    """Hands requests on, and adds up what they cost: of several calls one may fail after others were paid for.

    Attributes:
        usage: What they have cost so far.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self.usage = Usage()
        self._raised: list[ApiError] = []

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Hand a request on; see `Chat`."""
        try:
            reply = await self._chat(request)
        except ApiError as error:
            self.usage += Usage.of(error)
            self._raised.append(error)
            raise
        self.usage += reply.usage
        return reply

    def by(self, error: ApiError) -> Usage:
        """All that was paid by the time of an error, that of its own reply included."""
        return self.usage if error in self._raised else self.usage + Usage.of(error)
