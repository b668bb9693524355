"""OpenAPI schemas and response descriptions shared by the routes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from lvqa_ray.engine.local.analysis_store import TASK_NAME

Workspace = Annotated[
    str, Path(pattern=f"^{TASK_NAME.pattern}$", description="Namespace that separates the results of users.")
]
Session = Annotated[str, Path(pattern=f"^{TASK_NAME.pattern}$", description="Id of the analysis.")]
EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}
ERROR: dict[str, Any] = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error", "code", "message", "requestId"],
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "requestId": {"type": "string"},
                    "error": {
                        "type": "object",
                        "required": ["code", "message"],
                        "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
                    },
                },
            }
        }
    }
}
DOCUMENT: dict[str, Any] = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["task", "session", "state", "video", "shots", "results", "usage"],
                "properties": {"state": {"enum": ["running", "done", "failed", "stopped"]}},
            }
        }
    }
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these statuses and for those of every route (401, 403, 413)."""
    descriptions = {400: "Invalid request", 401: "No token", 403: "Forbidden", 404: "Not found", 413: "Too large"}
    descriptions |= {429: "Too many analyses are waiting", 503: "The service is starting or ending"}
    return {status: {"description": descriptions[status], **ERROR} for status in (*statuses, 401, 403, 413)}
