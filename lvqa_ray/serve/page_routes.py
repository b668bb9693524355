"""Routes of the web page: its files with a strict content security policy, and the settings that it offers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Header
from fastapi.responses import Response

from lvqa_ray.config import Job
from lvqa_ray.records import STYLES
from lvqa_ray.serve.analysis_request import AnalysisRequest
from lvqa_ray.serve.invalid import RefusedError
from lvqa_ray.serve.openapi import errors

STATIC = "/static/"
"""Path prefix of scripts and style sheets. They are the same for every service, so they need no token."""
MIME_TYPES: Mapping[str, str] = {
    # Explicit: `mimetypes` reads the registry of Windows, where .js may be text/plain, which browsers refuse to run.
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address of the page holds the session
}
IMMUTABLE = "public, max-age=31536000, immutable"


class PageRoutes:
    """Routes of the web page.

    Scripts and styles are served below a folder named after a digest of all of them, so that browsers keep them for a
    year and never mix the files of two releases. The HTML names that folder and is revalidated by its ETag.

    Args:
        job: The service's job, whose models and prompts the page offers.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        folder = files("lvqa_ray.serve") / "static"
        contents = {each.name: each.read_bytes() for each in folder.iterdir() if _suffix(each.name) in MIME_TYPES}
        digest = hashlib.sha256(b"".join(name.encode() + contents[name] for name in sorted(contents)))
        self._version = digest.hexdigest()[:16]
        self._files = {name: text.replace(b"{version}", self._version.encode()) for name, text in contents.items()}

    @property
    def router(self) -> APIRouter:
        """The routes as a FastAPI router."""
        router = APIRouter()
        router.add_api_route("/", self.page, methods=["GET"], include_in_schema=False)
        router.add_api_route("/docs", self.docs, methods=["GET"], include_in_schema=False)
        router.add_api_route(f"{STATIC}{{version}}/{{name}}", self.static, methods=["GET"], include_in_schema=False)
        router.add_api_route("/v1/settings", self.settings, methods=["GET"], tags=["analyses"], responses=errors())
        return router

    def page(self, if_none_match: str = Header(default="")) -> Response:
        """The page that starts analyses and shows their results."""
        return self._html("index.html", if_none_match)

    def docs(self, if_none_match: str = Header(default="")) -> Response:
        """The page that shows the API."""
        return self._html("docs.html", if_none_match)

    def static(self, version: str, name: str) -> Response:
        """A script or a style sheet.

        Raises:
            RefusedError: There is no such file in this release.
        """
        if version != self._version or name not in self._files or name.endswith(".html"):
            raise RefusedError("NotFound", "There is no such file.", 404)
        headers = {**SECURITY_HEADERS, "Cache-Control": IMMUTABLE}
        return Response(self._files[name], media_type=MIME_TYPES[_suffix(name)], headers=headers)

    def settings(self) -> dict[str, Any]:
        """What a request may name: fields and models, and the prompts and settings that apply if it names none."""
        job = self._job
        models = {
            role: list(dict.fromkeys((job.endpoints.endpoints_of(role)[0].model, *job.serve.models)))
            for role in ("vlm", "llm")
        }
        summary = job.analysis.summary
        return {
            "fields": sorted(AnalysisRequest.model_fields),
            "models": models,
            "prompts": {
                "caption": job.caption.prompt,
                "summary": {style: summary.prompt_of(style) for style in STYLES},
            },
            "styles": list(summary.styles),
            "language": job.analysis.language,
            "snapshot_interval": job.analysis.snapshot_interval,
            "limits": {"max_gb": job.serve.max_gb, "max_minutes": job.serve.max_minutes},
        }

    def _html(self, name: str, if_none_match: str) -> Response:
        text = self._files[name]
        etag = f'"{hashlib.sha256(text).hexdigest()[:32]}"'
        headers = {**SECURITY_HEADERS, "Cache-Control": "no-cache", "ETag": etag}
        if etag in if_none_match:
            return Response(status_code=304, headers=headers)
        return Response(text, media_type=MIME_TYPES[".html"], headers=headers)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
