"""Events of an analysis as a stream of server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable

from fastapi.responses import StreamingResponse

from lvqa_ray.serve.analyses import FAILED, AnalysisRuns, Running
from lvqa_ray.serve.envelope import Payload, Response, ResponseHeader, payload

LOOK_EVERY_S = 0.5
"""How often it is looked whether the client is still there."""
STILL_HERE_S = 10.0
"""After so much silence a comment is sent, so that nothing between here and there takes the stream for dead."""

Gone = Callable[[], Awaitable[bool]]
Words = Callable[[str, str], str]
"""Makes the text of an event of its name and its subject."""


async def stream(running: Running, words: Words, gone: Gone, *, since: int = 0) -> AsyncGenerator[str, None]:
    """The events from a number on, as they come, to the last one.

    Args:
        running: The analysis.
        words: Makes the texts.
        gone: Whether the client is.
        since: How many events it has already.
    """
    silent_s = 0.0
    while not await gone():
        for name, about in await running.heard(since, LOOK_EVERY_S):
            since, silent_s = since + 1, 0.0
            yield f"id: {since}\nevent: {name}\ndata: {words(name, about)}\n\n"
        if running.over and since >= len(running.events):
            return
        silent_s += LOOK_EVERY_S
        if silent_s >= STILL_HERE_S:
            silent_s = 0.0
            yield ": still here\n\n"


async def owned(
    analyses: AnalysisRuns, running: Running, events: AsyncGenerator[str, None]
) -> AsyncGenerator[str, None]:
    """The events of an analysis that is made for one client alone: it ends with the client."""
    try:
        async for event in events:
            yield event
    finally:
        if not running.over:
            await analyses.stop(running)


def event_stream(events: AsyncGenerator[str, None]) -> StreamingResponse:
    """The response that sends them."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def own_words(running: Running) -> Words:
    """Events in the names of this program."""

    def words(name: str, about: str) -> str:
        return json.dumps({"event": name, "about": about, **running.dossier.document()}, ensure_ascii=False)

    return words


def quanmiao_words(running: Running, request_id: str, trace_id: str) -> Words:
    """Events in the names of RunVideoAnalysis."""

    def words(name: str, about: str) -> str:
        dossier = running.dossier
        code, message = why(running) if name == FAILED else (None, None)
        header = ResponseHeader(
            event=name,
            event_info=about,
            session_id=dossier.session,
            task_id=dossier.task,
            trace_id=trace_id,
            error_code=code,
            error_message=message,
        )
        return Response(header=header, payload=payload(dossier.document()), request_id=request_id).text()

    return words


def why(running: Running) -> tuple[str, str]:
    """Code and sentence of what went wrong."""
    lacks = running.dossier.lacks
    if not lacks:
        return "Stopped", "The analysis was stopped; what is paid for is kept."
    return "".join(part.capitalize() for part in lacks[0].kind.split("_")), lacks[0].message


def refusal(code: str, message: str, request_id: str, trace_id: str, task_id: str = "") -> str:
    """A request that was not taken on, in the names of RunVideoAnalysis."""
    header = ResponseHeader(event=FAILED, trace_id=trace_id, task_id=task_id, error_code=code, error_message=message)
    return Response(header=header, payload=Payload(), request_id=request_id).text()
