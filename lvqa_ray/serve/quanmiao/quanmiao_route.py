"""Route of the vendor's RunVideoAnalysis API."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from lvqa_ray.serve.analyses import AnalysisRuns
from lvqa_ray.serve.invalid import RefusedError, new_request_id, refusal_fields, refusal_headers
from lvqa_ray.serve.openapi import EVENTS, Workspace, errors
from lvqa_ray.serve.quanmiao import envelope
from lvqa_ray.serve.quanmiao.quanmiao_request import RunVideoAnalysis
from lvqa_ray.serve.running import FAILED, Running
from lvqa_ray.serve.streams import EventFields, event_stream, owned, stream, why

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
        names = [*envelope.Response.model_json_schema(by_alias=True)["required"], "code", "message"]
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
                **errors(503),
            },
            openapi_extra={"requestBody": {"required": True, "content": {"application/json": body}}},
        )
        return router

    async def run_video_analysis(
        self, workspace: Workspace, request: Request, traceparent: Annotated[str | None, Header(max_length=200)] = None
    ) -> Response:
        """Analyze a video and stream events, each with all results so far. Disconnecting stops the analysis."""
        request_id, trace_id = new_request_id(), _trace(traceparent)
        try:
            analyses = self._analyses()
            given = RunVideoAnalysis.read(await request.body(), request.headers.get("content-type", ""))
            running = await analyses.start(given.wanted, workspace, titles=analyses.settings.titles)
        except RefusedError as error:
            return as_event(error, request_id, trace_id)
        fields = _event_fields(running, analyses.settings.shots_as, request_id, trace_id)
        return event_stream(owned(analyses, running, stream(running, fields, request.is_disconnected)))


def _event_fields(running: Running, shots_as: envelope.ShotsAs, request_id: str, trace_id: str) -> EventFields:
    """Fields of an event with the vendor's names."""

    def fields(name: str, about: str) -> Mapping[str, Any]:
        header = header_of(running, name, about, trace_id)
        payload = envelope.payload(running.analysis.document(), shots_as)
        return envelope.Response(header=header, payload=payload, request_id=request_id).fields

    return fields


def header_of(running: Running, name: str, about: str, trace_id: str) -> envelope.ResponseHeader:
    """Header of an event of an analysis."""
    code, message = why(running) if name == FAILED else (None, None)
    return envelope.ResponseHeader(
        event=name,
        event_info=about,
        session_id=running.analysis.session,
        task_id=running.analysis.task,
        trace_id=trace_id,
        error_code=code,
        error_message=message,
    )


def as_event(error: RefusedError, request_id: str = "", trace_id: str = "") -> Response:
    """Response to a refused request: an event, with the error at the top level too."""
    request_id = request_id or new_request_id()
    header = envelope.ResponseHeader(
        event=FAILED, trace_id=trace_id or uuid.uuid4().hex, error_code=error.code, error_message=str(error)
    )
    event = envelope.Response(header=header, request_id=request_id).fields
    return JSONResponse(
        {**event, **refusal_fields(error, request_id)}, status_code=error.status, headers=refusal_headers(error.status)
    )


def _trace(traceparent: str | None) -> str:
    """Trace id of a W3C ``traceparent`` header, or a new one."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 and parts[1].isalnum() else uuid.uuid4().hex
