"""ASGI application of the service: the RunVideoAnalysis route, plain JSON routes, and a web page to try them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from lvqa_ray.config import Job
from lvqa_ray.config.places import output_path
from lvqa_ray.engine.preflight.validation import check_output
from lvqa_ray.serve.analyses import AnalysisRuns
from lvqa_ray.serve.auth import App, TokenAuth
from lvqa_ray.serve.invalid import RefusedError
from lvqa_ray.serve.page_routes import PageRoutes
from lvqa_ray.serve.plain_routes import PlainRoutes
from lvqa_ray.serve.quanmiao_request import from_validation
from lvqa_ray.serve.quanmiao_route import ROUTE, QuanmiaoRoute, as_event
from lvqa_ray.storage.run_lock import run_lock

FORGET_EVERY_S = 3600.0


def make_app(job: Job, token: str) -> App:
    """Build the application of a service.

    Args:
        job: Endpoints, stages, limits and the output folder, which the application locks while it runs.
        token: Bearer token that clients must send; empty for none.
    """
    state: dict[str, AnalysisRuns] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        check_output(output_path(job))
        with run_lock(output_path(job)):
            analyses = state["analyses"] = AnalysisRuns(job)
            cleanup = asyncio.create_task(_forget_hourly(analyses))
            try:
                yield
            finally:
                cleanup.cancel()
                await analyses.aclose()

    app = FastAPI(
        title="lvqa-ray",
        version=version("lvqa-ray"),
        description="Analyzes videos: shots, speech, summaries, titles and mind maps, streamed as they are made.",
        lifespan=lifespan,
        docs_url=None,  # it would load a script from another host
        redoc_url=None,
    )
    for routes in (QuanmiaoRoute(lambda: state["analyses"]), PlainRoutes(lambda: state["analyses"]), PageRoutes(job)):
        app.include_router(routes.router)
    _add_errors(app)
    _add_health(app)
    return TokenAuth(app, token)


async def _forget_hourly(analyses: AnalysisRuns) -> None:
    while True:
        await asyncio.to_thread(analyses.forget)
        await asyncio.sleep(FORGET_EVERY_S)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse({"error": {"code": error.code, "message": str(error)}}, status_code=error.status)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        codes = {400: "InvalidParam", 404: "NotFound", 405: "NotAllowed"}
        refusal = RefusedError(codes.get(error.status_code, "Refused"), f"{error.detail}.", error.status_code)
        return await refused(request, refusal)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> Response:
        refusal = from_validation(error.errors())
        if request.url.path.endswith(ROUTE):
            return as_event(refusal)
        return await refused(request, refusal)


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    def healthy() -> dict[str, str]:
        return {"status": "ok"}
