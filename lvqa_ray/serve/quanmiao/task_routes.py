"""Routes of the vendor's task API: SubmitVideoAnalysisTask, GetVideoAnalysisTask and UpdateVideoAnalysisTask."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from weakref import WeakValueDictionary

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from lvqa_ray.engine.local.analysis_store import TASK_NAME
from lvqa_ray.serve.analyses import AnalysisRuns
from lvqa_ray.serve.invalid import RefusedError, new_request_id
from lvqa_ray.serve.openapi import Workspace, errors
from lvqa_ray.serve.quanmiao import envelope
from lvqa_ray.serve.quanmiao.quanmiao_request import SubmitVideoAnalysisTask, UpdateVideoAnalysisTask
from lvqa_ray.serve.running import FAILED, FINISHED, GROWN, STARTED

TASK_ROUTES = "/quanmiao/lightapp/videoAnalysis"
TaskStatus = Literal["PENDING", "RUNNING", "SUCCESSED", "FAILED", "CANCELED"]
"""Statuses in the vendor's spelling."""
OVER_STATUSES: Mapping[str, TaskStatus] = {"done": "SUCCESSED", "failed": "FAILED", "stopped": "CANCELED"}
EVENT_OF: Mapping[TaskStatus, str] = {
    "PENDING": STARTED,
    "RUNNING": GROWN,
    "SUCCESSED": FINISHED,
    "FAILED": FAILED,
    "CANCELED": FAILED,
}
INTERRUPTED = "The service ended during the analysis: submit it again; what is paid for is kept."
CANCELED = "The task was canceled; what is paid for is kept."
TaskId = Annotated[str, Query(alias="taskId", pattern=f"^{TASK_NAME.pattern}$", description="The task.")]


class TaskRoutes:
    """Routes of tasks: analyses that outlive the connection.

    Args:
        analyses: Returns the job manager, after the application has started.
    """

    def __init__(self, analyses: Callable[[], AnalysisRuns]) -> None:
        self._analyses = analyses
        self._submitting: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @property
    def router(self) -> APIRouter:
        """The routes as a FastAPI router."""
        router = APIRouter(prefix=f"/{{workspace}}{TASK_ROUTES}", tags=["VideoAnalysisTask"])
        for method, name, call, body, extra in (
            ("POST", "submitVideoAnalysisTask", self.submit, SubmitVideoAnalysisTask, (429,)),
            ("GET", "getVideoAnalysisTask", self.get, None, (404,)),
            ("PUT", "updateVideoAnalysisTask", self.update, UpdateVideoAnalysisTask, (404,)),
        ):
            described = body and {"schema": body.model_json_schema(by_alias=True)}
            content = {"requestBody": {"required": True, "content": {"application/json": described}}}
            router.add_api_route(
                f"/{name}",
                call,
                methods=[method],
                responses={200: {"description": "The task", **TASK_RESPONSE}, **errors(400, *extra, 503)},
                openapi_extra=content if body else None,
            )
        return router

    async def submit(self, workspace: Workspace, request: Request) -> JSONResponse:
        """Start an analysis and return its task at once. It continues when the client disconnects."""
        analyses = self._analyses()
        content_type = request.headers.get("content-type", "")
        given = SubmitVideoAnalysisTask.read(await request.body(), content_type)
        wanted = given.wanted
        # Two requests with one id: the second waits until the task of the first can be found.
        lock = self._submitting.setdefault((workspace, wanted.task or str(uuid.uuid4())), asyncio.Lock())
        async with lock:
            if given.deduplication_id and wanted.task and await self._seen(wanted.task, workspace):
                return _answer({"taskId": wanted.task})
            running = await analyses.start(wanted, workspace, titles=analyses.settings.titles)
        return _answer({"taskId": running.analysis.task})

    async def get(self, workspace: Workspace, task_id: TaskId) -> JSONResponse:
        """Read the status of a task and all its results so far."""
        found = await self._found(task_id, workspace)
        document, status = found.document, found.status
        header = envelope.ResponseHeader(
            event=EVENT_OF[status],
            session_id=document["session"],
            task_id=task_id,
            error_code=found.error and found.error[0],
            error_message=found.error and found.error[1],
        )
        shots_as = self._analyses().settings.shots_as
        payload = envelope.payload(document, shots_as)
        data: dict[str, Any] = {
            "taskId": task_id,
            "taskStatus": status,
            "header": header.model_dump(mode="json", by_alias=True, exclude_none=True),
            "payload": payload.model_dump(mode="json", by_alias=True, exclude_none=True),
            "taskRunInfo": {"concurrentChargeEnable": False, "responseTime": _elapsed_ms(document)},
        }
        return _answer(data | ({"errorMessage": found.error[1]} if found.error else {}))

    async def update(self, workspace: Workspace, request: Request) -> JSONResponse:
        """Cancel a task; paid replies are kept. A task that is over stays as it is."""
        analyses = self._analyses()
        given = UpdateVideoAnalysisTask.read(await request.body(), request.headers.get("content-type", ""))
        running = analyses.find_task(given.task_id, workspace)
        if running is not None:
            await analyses.stop(running)
        found = await self._found(given.task_id, workspace)
        data = {"taskId": given.task_id, "taskStatus": found.status}
        return _answer(data | ({"taskErrorMessage": found.error[1]} if found.error else {}))

    async def _seen(self, task: str, workspace: str) -> bool:
        """Whether a task runs or has ended well."""
        if self._analyses().find_task(task, workspace):
            return True
        stored = await asyncio.to_thread(self._analyses().store(workspace).of, task)
        return bool(stored) and stored[0]["state"] == "done"

    async def _found(self, task: str, workspace: str) -> FoundTask:
        if running := self._analyses().find_task(task, workspace):
            return FoundTask(running.analysis.document(), "PENDING" if running.waits else "RUNNING")
        stored = await asyncio.to_thread(self._analyses().store(workspace).of, task)
        if not stored:
            raise RefusedError("NotFound", "There is no such task, or it is kept no longer.", 404)
        document = stored[0]
        if document["state"] == "running":  # nothing runs it
            return FoundTask(document, "FAILED", ("Interrupted", INTERRUPTED))
        status = OVER_STATUSES[document["state"]]
        failures = [each["failure"] for each in document["results"]]
        failure = next((each for each in (document["failure"], *failures) if each), None)
        if status == "CANCELED":
            return FoundTask(document, status, ("Stopped", CANCELED))
        return FoundTask(document, status, failure and (failure["kind"], failure["message"]))


@dataclass(frozen=True, slots=True)
class FoundTask:
    """A task: the document of its latest analysis, its status, and the code and message of its error."""

    document: Mapping[str, Any]
    status: TaskStatus
    error: tuple[str, str] | None = None


def _answer(data: Mapping[str, Any]) -> JSONResponse:
    request_id = new_request_id()
    return JSONResponse(
        {
            "requestId": request_id,
            "code": "successful",
            "message": "success",
            "httpStatusCode": 200,
            "success": True,
            "data": dict(data),
        }
    )


def _elapsed_ms(document: Mapping[str, Any]) -> int:
    began, latest = (datetime.fromisoformat(document[name]) for name in ("created", "updated"))
    return round((latest - began).total_seconds() * 1000)


TASK_RESPONSE: Mapping[str, Any] = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["requestId", "code", "message", "httpStatusCode", "success", "data"],
                "properties": {"data": {"type": "object", "required": ["taskId"]}},
            }
        }
    }
}
