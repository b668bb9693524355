"""Route of the vendor's RunVideoAnalysis API."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response, StreamingResponse

from lvqa_ray.serve import envelope
from lvqa_ray.serve.analyses import AnalysisRuns
from lvqa_ray.serve.invalid import RefusedError
from lvqa_ray.serve.openapi import EVENTS, Workspace, errors
from lvqa_ray.serve.quanmiao_request import RunVideoAnalysis, read
from lvqa_ray.serve.streams import event_stream, owned, quanmiao_event_text, refusal, stream

ROUTE = "/quanmiao/lightapp/runVideoAnalysis"


class QuanmiaoRoute:
    """Route of the RunVideoAnalysis API.

    Args:
        analyses: Returns the job manager, after the application has started.
    """

    def __init__(self, analyses: Callable[[], AnalysisRuns]) -> None:
        self._analyses = analyses

    @property
    def router(self) -> APIRouter:
        """The route as a FastAPI router."""
        names = envelope.Response.model_json_schema(by_alias=True)["required"]
        error = {"content": {"application/json": {"schema": {"type": "object", "required": names}}}}
        body = {"schema": RunVideoAnalysis.model_json_schema(by_alias=True)}
        router = APIRouter(tags=["RunVideoAnalysis"])
        router.add_api_route(
            f"/{{workspace}}{ROUTE}",
            self.run_video_analysis,
            methods=["POST"],
            response_class=StreamingResponse,
            responses={
                200: {"description": "Events", "content": EVENTS},
                400: {"description": "Invalid request", **error},
                429: {"description": "Too many analyses are waiting", **error},
                **errors(),
            },
            openapi_extra={"requestBody": {"required": True, "content": {"application/json": body}}},
        )
        return router

    async def run_video_analysis(
        self, workspace: Workspace, request: Request, traceparent: Annotated[str | None, Header(max_length=200)] = None
    ) -> Response:
        """Analyze a video and stream events, each with all results so far. Disconnecting stops the analysis."""
        request_id, trace_id = str(uuid.uuid4()).upper(), _trace(traceparent)
        try:
            given = read(await request.body(), request.headers.get("content-type", ""))
            running = await self._analyses().start(given.wanted, workspace)
        except RefusedError as error:
            return as_event(error, request_id, trace_id)
        event_text = quanmiao_event_text(running, request_id, trace_id)
        return event_stream(owned(self._analyses(), running, stream(running, event_text, request.is_disconnected)))


def as_event(error: RefusedError, request_id: str = "", trace_id: str = "") -> Response:
    """Response to a refused request, as an event."""
    text = refusal(error.code, str(error), request_id or str(uuid.uuid4()).upper(), trace_id or uuid.uuid4().hex)
    return Response(text, status_code=error.status, media_type="application/json")


def _trace(traceparent: str | None) -> str:
    """Trace id of a W3C ``traceparent`` header, or a new one."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 and parts[1].isalnum() else uuid.uuid4().hex
