"""The vendor's own SDK, unmodified, pointed at a service on loopback."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from alibabacloud_quanmiaolightapp20240801 import models
from alibabacloud_quanmiaolightapp20240801.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.exceptions import DaraException
from darabonba.runtime import RuntimeOptions

__all__ = ["WORKSPACE", "Vendor", "models", "refused"]

WORKSPACE = "llm-xxx"
UNSIGNED = {"bearer_token": "none is needed here"}


class Vendor:
    """A client of a service.

    Args:
        url: Where the service is.
        credentials: Fields of the SDK's configuration: ``bearer_token``, or ``access_key_id`` and
            ``access_key_secret``.
        workspace: Its workspace.
    """

    def __init__(self, url: str, workspace: str = WORKSPACE, **credentials: str) -> None:
        config = Config(endpoint=urlsplit(url).netloc, protocol="HTTP", **(credentials or UNSIGNED))
        self.client: Any = Client(config)
        self.workspace = workspace

    def run(self, runtime: Mapping[str, Any] | None = None, **request: Any) -> Iterator[Any]:
        """Run an analysis with the synchronous client; its event bodies."""
        options = RuntimeOptions(**(runtime or {}))
        asked = models.RunVideoAnalysisRequest(**request)
        for event in self.client.run_video_analysis_with_sse(self.workspace, asked, {}, options):
            assert event.status_code == 200
            yield event.body

    async def run_async(self, **request: Any) -> AsyncGenerator[Any, None]:
        """Run an analysis with the asynchronous client; its event bodies."""
        asked = models.RunVideoAnalysisRequest(**request)
        events = self.client.run_video_analysis_with_sse_async(self.workspace, asked, {}, RuntimeOptions())
        async for event in events:
            yield event.body

    def submit(self, **request: Any) -> str:
        """Submit a task; its id."""
        asked = models.SubmitVideoAnalysisTaskRequest(**request)
        body = self.client.submit_video_analysis_task(self.workspace, asked).body
        assert (body.success, body.code, body.http_status_code) == (True, "successful", 200)
        assert body.request_id
        task: str = body.data.task_id
        return task

    def task(self, task: str) -> Any:
        """Status and results of a task."""
        asked = models.GetVideoAnalysisTaskRequest(task_id=task)
        return self.client.get_video_analysis_task(self.workspace, asked).body.data

    def cancel(self, task: str) -> Any:
        """Cancel a task; its new status."""
        asked = models.UpdateVideoAnalysisTaskRequest(task_id=task, task_status="CANCELED")
        return self.client.update_video_analysis_task(self.workspace, asked).body.data


def refused(error: BaseException) -> DaraException:
    """The error that the service sent, out of the SDK's wrapper around it."""
    inner = getattr(error, "inner_exception", None) or error
    assert isinstance(inner, DaraException), repr(error)
    return inner
