"""ASGI application of the service: the vendor's routes, plain JSON routes, and a web page to try them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from lvqa_ray.config import Job
from lvqa_ray.config.places import output_path
from lvqa_ray.engine.preflight.validation import check_output
from lvqa_ray.errors import LvqaError
from lvqa_ray.serve.access.auth import Authentication, Credentials, Receive, Scope, Send
from lvqa_ray.serve.analyses import AnalysisRuns
from lvqa_ray.serve.invalid import RefusedError, refusal_fields, refusal_headers
from lvqa_ray.serve.page_routes import PageRoutes
from lvqa_ray.serve.plain_routes import PlainRoutes
from lvqa_ray.serve.quanmiao.quanmiao_request import from_validation
from lvqa_ray.serve.quanmiao.quanmiao_route import ROUTE, QuanmiaoRoute, as_event
from lvqa_ray.serve.quanmiao.task_routes import TaskRoutes
from lvqa_ray.storage.run_lock import run_lock

FORGET_EVERY_S = 3600.0
logger = logging.getLogger(__name__)


class ServiceApp:
    """The application of a service, which starts in the background: ``/healthz`` answers meanwhile, the rest is 503.

    Args:
        job: Endpoints, stages, limits and the output folder, which the application locks while it runs.
        token: Bearer token that clients must send; empty for none.
        keys: Secret by access key id, for clients that sign their requests.
    """

    def __init__(self, job: Job, token: str = "", keys: Mapping[str, str] | None = None) -> None:
        self._job = job
        self._runs: AnalysisRuns | None = None
        self._held = ExitStack()
        self._start: asyncio.Task[None] | None = None
        app = FastAPI(
            title="lvqa-ray",
            version=version("lvqa-ray"),
            description="Analyzes videos: shots, speech, summaries, titles and mind maps, streamed as they are made.",
            lifespan=self._lifespan,
            docs_url=None,  # it would load a script from another host
            redoc_url=None,
        )
        for routes in (
            QuanmiaoRoute(self.analyses),
            TaskRoutes(self.analyses),
            PlainRoutes(self.analyses),
            PageRoutes(job),
        ):
            app.include_router(routes.router)
        _add_errors(app)
        self._add_health(app)
        self._app = Authentication(app, Credentials(token, keys or {}), job.serve.public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        await self._app(scope, receive, send)

    def analyses(self) -> AnalysisRuns:
        """The job manager.

        Raises:
            RefusedError: The service is still starting.
        """
        if self._runs is None:
            raise RefusedError("ServiceUnavailable", "The service is starting; try again in a moment.", 503)
        return self._runs

    async def ready(self) -> str:
        """Wait until the service has started; returns why it could not, or an empty text."""
        if self._start is None:
            return "the application was not started"
        try:
            await asyncio.shield(self._start)
        except LvqaError as error:
            return str(error)
        return ""

    async def drain(self) -> None:
        """Stop all analyses, so that their clients get a last event; new ones are refused."""
        if self._runs is not None:
            await self._runs.aclose()

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self._start = asyncio.create_task(self._started())
        self._start.add_done_callback(_log_failure)
        cleanup = asyncio.create_task(self._forget_hourly())
        try:
            yield
        finally:
            cleanup.cancel()
            await asyncio.wait([self._start])
            await self.drain()
            await asyncio.to_thread(self._held.close)

    async def _started(self) -> None:
        await asyncio.to_thread(self._lock)
        self._runs = await asyncio.to_thread(AnalysisRuns, self._job)

    def _lock(self) -> None:
        folder = output_path(self._job)
        check_output(folder)
        self._held.enter_context(run_lock(folder))

    async def _forget_hourly(self) -> None:
        while True:
            if self._runs is not None:
                await asyncio.to_thread(self._runs.forget)
            await asyncio.sleep(FORGET_EVERY_S if self._runs is not None else 1)

    @property
    def _status(self) -> str:
        if self._runs is not None:
            return "ok"
        return "failed" if self._start is not None and self._start.done() else "starting"

    def _add_health(self, app: FastAPI) -> None:
        @app.get("/healthz", include_in_schema=False)
        async def healthy() -> JSONResponse:
            status = self._status
            return JSONResponse({"status": status}, status_code=500 if status == "failed" else 200)


def make_app(job: Job, token: str = "", keys: Mapping[str, str] | None = None) -> ServiceApp:
    """Build the application of a service; arguments as for a `ServiceApp`."""
    return ServiceApp(job, token, keys)


def _log_failure(start: asyncio.Task[None]) -> None:
    if not start.cancelled() and (error := start.exception()) is not None:
        logger.error("the service does not start: %s", error)


def _add_errors(app: FastAPI) -> None:
    def answer(request: Request, error: RefusedError) -> Response:
        if request.url.path.endswith(ROUTE):
            return as_event(error)
        return JSONResponse(refusal_fields(error), status_code=error.status, headers=refusal_headers(error.status))

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        return answer(request, error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        codes = {400: "InvalidParam", 404: "NotFound", 405: "NotAllowed"}
        code = codes.get(error.status_code, "Refused")
        return answer(request, RefusedError(code, f"{error.detail}.", error.status_code))

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> Response:
        return answer(request, from_validation(error.errors()))
