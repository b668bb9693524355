"""Server-sent events of an analysis."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable

from fastapi.responses import StreamingResponse

from lvqa_ray.serve.analyses import FAILED, AnalysisRuns, Running
from lvqa_ray.serve.envelope import Payload, Response, ResponseHeader, payload

CLIENT_POLL_S = 0.5
"""Interval (s) between two checks whether the client is connected."""
KEEP_ALIVE_S = 10.0
"""Keep-alive interval: after this much silence (s) a comment is sent, so that no proxy closes the connection."""

Disconnected = Callable[[], Awaitable[bool]]
EventText = Callable[[str, str], str]
"""Returns the data of an event, given its name and its subject."""


async def stream(
    running: Running, event_text: EventText, disconnected: Disconnected, *, since: int = 0
) -> AsyncGenerator[str, None]:
    """Yield the events from an index on, as they are emitted, up to the last one.

    Args:
        running: The analysis.
        event_text: Returns the data of an event.
        disconnected: Returns whether the client has disconnected.
        since: Number of events that the client already has.
    """
    silent_s = 0.0
    while not await disconnected():
        for name, about in await running.wait_events(since, CLIENT_POLL_S):
            since, silent_s = since + 1, 0.0
            yield f"id: {since}\nevent: {name}\ndata: {event_text(name, about)}\n\n"
        if running.over and since >= len(running.events):
            return
        silent_s += CLIENT_POLL_S
        if silent_s >= KEEP_ALIVE_S:
            silent_s = 0.0
            yield ": still here\n\n"


async def owned(
    analyses: AnalysisRuns, running: Running, events: AsyncGenerator[str, None]
) -> AsyncGenerator[str, None]:
    """Yield the events of an analysis, and stop the analysis when its client disconnects."""
    try:
        async for event in events:
            yield event
    finally:
        if not running.over:
            await analyses.stop(running)


def event_stream(events: AsyncGenerator[str, None]) -> StreamingResponse:
    """Wrap events in an HTTP response."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def own_event_text(running: Running) -> EventText:
    """Event data with this program's names."""

    def event_text(name: str, about: str) -> str:
        return json.dumps({"event": name, "about": about, **running.analysis.document()}, ensure_ascii=False)

    return event_text


def quanmiao_event_text(running: Running, request_id: str, trace_id: str) -> EventText:
    """Event data with the names of RunVideoAnalysis."""

    def event_text(name: str, about: str) -> str:
        analysis = running.analysis
        code, message = why(running) if name == FAILED else (None, None)
        header = ResponseHeader(
            event=name,
            event_info=about,
            session_id=analysis.session,
            task_id=analysis.task,
            trace_id=trace_id,
            error_code=code,
            error_message=message,
        )
        return Response(header=header, payload=payload(analysis.document()), request_id=request_id).text()

    return event_text


def why(running: Running) -> tuple[str, str]:
    """Error code and message of a failed analysis."""
    lacks = running.analysis.lacks
    if not lacks:
        return "Stopped", "The analysis was stopped; what is paid for is kept."
    return "".join(part.capitalize() for part in lacks[0].kind.split("_")), lacks[0].message


def refusal(code: str, message: str, request_id: str, trace_id: str, task_id: str = "") -> str:
    """Event data for a refused request, with the names of RunVideoAnalysis."""
    header = ResponseHeader(event=FAILED, trace_id=trace_id, task_id=task_id, error_code=code, error_message=message)
    return Response(header=header, payload=Payload(), request_id=request_id).text()
