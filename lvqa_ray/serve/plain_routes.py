"""REST routes under /v1/analyses: start, read, watch and stop an analysis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse

from lvqa_ray.engine.local.analysis_store import TASK_NAME
from lvqa_ray.serve.analyses import AnalysisRuns
from lvqa_ray.serve.analysis_request import AnalysisRequest
from lvqa_ray.serve.invalid import RefusedError
from lvqa_ray.serve.openapi import DOCUMENT, EVENTS, Session, errors
from lvqa_ray.serve.running import Running
from lvqa_ray.serve.streams import event_stream, own_fields, stream

OWN = "v1"
"""Workspace of these routes."""


class PlainRoutes:
    """REST routes of the service's own API.

    Args:
        analyses: Returns the job manager, after the application has started.
    """

    def __init__(self, analyses: Callable[[], AnalysisRuns]) -> None:
        self._analyses = analyses

    @property
    def router(self) -> APIRouter:
        """The routes as a FastAPI router."""
        made = {"description": "The analysis as it is now", **DOCUMENT}
        events = {"description": "Events", "content": EVENTS}
        router = APIRouter(prefix="/v1/analyses", tags=["analyses"])
        router.add_api_route(
            "", self.start, methods=["POST"], status_code=202, responses={202: made, **errors(400, 429, 503)}
        )
        router.add_api_route("", self.of, methods=["GET"], responses=errors(400, 503))
        router.add_api_route("/{session}", self.get, methods=["GET"], responses={200: made, **errors(400, 404, 503)})
        router.add_api_route(
            "/{session}", self.stop, methods=["DELETE"], responses={200: made, **errors(400, 404, 503)}
        )
        router.add_api_route(
            "/{session}/events",
            self.watch,
            methods=["GET"],
            response_class=StreamingResponse,
            responses={200: events, **errors(400, 404, 503)},
        )
        return router

    async def start(self, wanted: AnalysisRequest) -> JSONResponse:
        """Start an analysis. It continues when the client disconnects."""
        running = await self._analyses().start(wanted, OWN)
        return JSONResponse(running.analysis.document(), status_code=202)

    async def of(self, task: Annotated[str, Query(pattern=f"^{TASK_NAME.pattern}$")]) -> list[dict[str, Any]]:
        """List the analyses of a task, the latest first."""
        return await asyncio.to_thread(self._analyses().store(OWN).of, task)

    async def get(self, session: Session) -> JSONResponse:
        """Read an analysis: all results so far."""
        if running := self._analyses().find(session, OWN):
            return JSONResponse(running.analysis.document())
        return JSONResponse(await self._stored(session))

    async def watch(
        self, session: Session, request: Request, last_event_id: Annotated[int, Header(ge=0, le=2**31)] = 0
    ) -> StreamingResponse:
        """Stream the events of an analysis."""
        running = await self._find_running(session)
        return event_stream(stream(running, own_fields(running), request.is_disconnected, since=last_event_id))

    async def stop(self, session: Session) -> JSONResponse:
        """Stop an analysis; paid replies are kept."""
        if running := self._analyses().find(session, OWN):
            await self._analyses().stop(running)
            return JSONResponse(running.analysis.document())
        return JSONResponse(await self._stored(session))

    async def _stored(self, session: str) -> dict[str, Any]:
        document = await asyncio.to_thread(self._analyses().store(OWN).find, session)
        if document is None:
            raise RefusedError("NotFound", "There is no such analysis, or it is kept no longer.", 404)
        if document["state"] == "running":  # no task runs it: the service ended during the analysis
            document["state"] = "stopped"
        return document

    async def _find_running(self, session: str) -> Running:
        if running := self._analyses().find(session, OWN):
            return running
        await self._stored(session)
        raise RefusedError("Over", "The analysis is over: read its result.", 404)
