"""What the routes say of themselves in the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from lvqa_ray.engine.local.analysis_store import NAME

Workspace = Annotated[str, Path(pattern=f"^{NAME.pattern}$", description="Keeps some users' results apart.")]
Session = Annotated[str, Path(pattern=f"^{NAME.pattern}$", description="Names the analysis.")]
EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}
ERROR: dict[str, Any] = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["code", "message"],
                        "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
                    }
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
    """The answers of these statuses, and of those that every route may give."""
    words = {400: "Not to be done so", 401: "No token", 403: "Not from there", 404: "Not there", 413: "Too large"}
    words[429] = "Too many wait"
    return {status: {"description": words[status], **ERROR} for status in (*statuses, 401, 403, 413)}
