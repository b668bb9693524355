"""Server-sent events of an analysis."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any

from fastapi.responses import StreamingResponse

from lvqa_ray.serve.analyses import AnalysisRuns
from lvqa_ray.serve.running import Running

CLIENT_POLL_S = 0.5
"""Interval (s) between two checks whether the client is connected."""
KEEP_ALIVE_S = 3.0
"""Keep-alive interval: after this much silence (s) a comment is sent. Clients give up after 10 s (the vendor's SDK),
proxies after 30 to 60 s."""
KEEP_ALIVE = ": still here\n\n"
LONGEST_LINE = 2**18
"""Maximum characters of a line, unless a single text is longer: the vendor's async SDK drops lines of 1 MB."""

Disconnected = Callable[[], Awaitable[bool]]
EventFields = Callable[[str, str], Mapping[str, Any]]
"""Returns the fields of an event, given its name and its subject."""


async def stream(
    running: Running, fields: EventFields, disconnected: Disconnected, *, since: int = 0
) -> AsyncGenerator[str, None]:
    """Yield the events from an index on, as they are emitted, up to the last one.

    The first bytes are sent at once. Of several growing results that wait for a slow client, only the latest is sent.

    Args:
        running: The analysis.
        fields: Returns the fields of an event.
        disconnected: Returns whether the client has disconnected.
        since: Number of events that the client already has.
    """
    running.watchers += 1
    try:
        silent_s = 0.0
        yield KEEP_ALIVE
        while not await disconnected():
            for name, about in await running.wait_events(since, CLIENT_POLL_S):
                since, silent_s = since + 1, 0.0
                if running.is_superseded(since - 1):
                    continue
                yield f"id: {since}\nevent: {name}\n{data_lines(fields(name, about))}\n"
            if running.over and since >= len(running.events):
                return
            silent_s += CLIENT_POLL_S
            if silent_s >= KEEP_ALIVE_S:
                silent_s = 0.0
                yield KEEP_ALIVE
    finally:
        running.watchers -= 1


def data_lines(fields: Mapping[str, Any]) -> str:
    r"""The ``data:`` lines of an event: ASCII JSON, split between its tokens if it is long.

    The vendor's synchronous SDK decodes chunks of 8 KB one by one, and loses those that split a character; ``\u``
    escapes cannot be split. The standard joins the lines of an event by line feeds, which are white space in JSON.
    """
    text = json.dumps(fields, separators=(",", ":"))
    if len(text) <= LONGEST_LINE:
        return f"data: {text}\n"
    return "".join(f"data: {line}\n" for line in _lines(json.dumps(fields, separators=(",\n", ":"))))


def _lines(text: str) -> Iterator[str]:
    """The lines of a text, joined up to the longest line."""
    line = ""
    for piece in text.split("\n"):
        if line and len(line) + len(piece) > LONGEST_LINE:
            yield line
            line = ""
        line += piece
    yield line


async def owned(
    analyses: AnalysisRuns, running: Running, events: AsyncGenerator[str, None]
) -> AsyncGenerator[str, None]:
    """Yield the events of an analysis, and stop the analysis when its client disconnects, unless it is to finish."""
    try:
        async for event in events:
            yield event
    finally:
        await events.aclose()
        if not running.over and not analyses.finish_detached:
            await analyses.stop(running)


def event_stream(events: AsyncGenerator[str, None]) -> StreamingResponse:
    """Wrap events in an HTTP response."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def own_fields(running: Running) -> EventFields:
    """Fields of an event with this program's names."""

    def fields(name: str, about: str) -> Mapping[str, Any]:
        return {"event": name, "about": about, **running.analysis.document()}

    return fields


def why(running: Running) -> tuple[str, str]:
    """Error code and message of a failed analysis."""
    lacks = running.analysis.lacks
    if not lacks:
        return "Stopped", "The analysis was stopped; what is paid for is kept."
    return "".join(part.capitalize() for part in lacks[0].kind.split("_")), lacks[0].message
