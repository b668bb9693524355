"""Plain JSON under /v1/analyses: start, read, watch and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse

from lvqa_ray.engine.local.analysis_store import NAME
from lvqa_ray.serve.analyses import AnalysisRuns, Running
from lvqa_ray.serve.analysis_request import AnalysisRequest
from lvqa_ray.serve.invalid import RefusedError
from lvqa_ray.serve.openapi import DOCUMENT, EVENTS, Session, errors
from lvqa_ray.serve.streams import event_stream, own_words, stream

OWN = "v1"
"""The workspace of these routes."""


class PlainRoutes:
    """The routes.

    Args:
        analyses: Gives the analyses of the service, once it lives.
    """

    def __init__(self, analyses: Callable[[], AnalysisRuns]) -> None:
        self._analyses = analyses

    @property
    def router(self) -> APIRouter:
        """For FastAPI."""
        made = {"description": "The analysis as it is now", **DOCUMENT}
        events = {"description": "Events", "content": EVENTS}
        router = APIRouter(prefix="/v1/analyses", tags=["analyses"])
        router.add_api_route(
            "", self.start, methods=["POST"], status_code=202, responses={202: made, **errors(400, 429)}
        )
        router.add_api_route("", self.of, methods=["GET"], responses=errors(400))
        router.add_api_route("/{session}", self.get, methods=["GET"], responses={200: made, **errors(400, 404)})
        router.add_api_route("/{session}", self.stop, methods=["DELETE"], responses={200: made, **errors(400, 404)})
        router.add_api_route(
            "/{session}/events",
            self.watch,
            methods=["GET"],
            response_class=StreamingResponse,
            responses={200: events, **errors(400, 404)},
        )
        return router

    async def start(self, wanted: AnalysisRequest) -> JSONResponse:
        """Start an analysis, which goes on when the client is gone."""
        running = await self._analyses().start(wanted, OWN)
        return JSONResponse(running.dossier.document(), status_code=202)

    def of(self, task: Annotated[str, Query(pattern=f"^{NAME.pattern}$")]) -> list[dict[str, Any]]:
        """The analyses of a task, the latest first."""
        return self._analyses().kept(OWN).of(task)

    async def get(self, session: Session) -> JSONResponse:
        """Read an analysis: all that is known by now."""
        if running := self._analyses().find(session):
            return JSONResponse(running.dossier.document())
        return JSONResponse(await self._kept(session))

    async def watch(
        self, session: Session, request: Request, last_event_id: Annotated[int, Header(ge=0, le=2**31)] = 0
    ) -> StreamingResponse:
        """Watch an analysis: its events as they come."""
        running = await self._going(session)
        return event_stream(stream(running, own_words(running), request.is_disconnected, since=last_event_id))

    async def stop(self, session: Session) -> JSONResponse:
        """Stop an analysis; what is paid for is kept."""
        if running := self._analyses().find(session):
            await self._analyses().stop(running)
            return JSONResponse(running.dossier.document())
        return JSONResponse(await self._kept(session))

    async def _kept(self, session: str) -> dict[str, Any]:
        document = await asyncio.to_thread(self._analyses().kept(OWN).find, session)
        if document is None:
            raise RefusedError("NotFound", "There is no such analysis, or it is kept no longer.", 404)
        if document["state"] == "running":  # and nobody is at it: the service was ended in its midst
            document["state"] = "stopped"
        return document

    async def _going(self, session: str) -> Running:
        if running := self._analyses().find(session):
            return running
        await self._kept(session)
        raise RefusedError("Over", "The analysis is over: read its result.", 404)
