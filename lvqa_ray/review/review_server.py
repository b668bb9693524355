"""Review server: a page on loopback that shows one question at a time and stores decisions."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.resources import files
from typing import Any

from aiohttp import web

from lvqa_ray.errors import ConfigError
from lvqa_ray.records import Span
from lvqa_ray.review.clip_player import ClipPlayer, NoClipError
from lvqa_ray.review.decisions import ACTIONS, DecisionLog, texts_of
from lvqa_ray.review.queue import ReviewQueue, decision_about
from lvqa_ray.storage.remote import is_remote

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_TEXT_CHARS = 100_000
CONTENT_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; media-src 'self'; connect-src 'self'"
_FILES = {
    "": ("review.html", "text/html"),
    "review.js": ("review.js", "text/javascript"),
    "review.css": ("review.css", "text/css"),
}


class ReviewServer:
    """Serves one reviewer. All paths begin with a secret, so other users of the machine see nothing.

    Args:
        queue: The records.
        log: Where decisions are stored.
        reviewer: Name of the reviewer.
        player: Gives the clips; it is closed with the server.
    """

    def __init__(self, queue: ReviewQueue, log: DecisionLog, reviewer: str, player: ClipPlayer) -> None:
        self._queue = queue
        self._log = log
        self._reviewer = reviewer
        self._token = secrets.token_urlsafe(24)
        self._player = player
        self._actions: dict[int, list[dict[str, Any]]] = {}
        self._finished = asyncio.Event()
        self._hosts: set[str] = set()

    async def serve(self, port: int, on_ready: Callable[[str], None]) -> None:
        """Serve until the reviewer ends the session, or until cancelled.

        Args:
            port: Port on loopback, 0 for any free one.
            on_ready: Called once with the address of the page.

        Raises:
            ConfigError: The port is in use.
        """
        app = web.Application(middlewares=[self._guard], client_max_size=4 * MAX_TEXT_CHARS)
        base = f"/{self._token}"
        app.add_routes(
            [
                web.get(f"{base}/{{file:|review\\.js|review\\.css}}", self._file),
                web.get(f"{base}/api/queue", self._get_queue),
                web.get(f"{base}/api/records/{{n:\\d+}}", self._get_record),
                web.post(f"{base}/api/records/{{n:\\d+}}", self._decide),
                web.get(f"{base}/clips/{{n:\\d+}}-{{step:\\d+}}.mp4", self._clip),
                web.post(f"{base}/api/finish", self._finish),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            try:
                await site.start()
            except OSError:
                raise ConfigError(f"Port {port} is in use: choose another --port, or leave it out.") from None
            own = runner.addresses[0][1]
            self._hosts = {f"127.0.0.1:{own}", f"localhost:{own}"}
            on_ready(f"http://127.0.0.1:{own}{base}/")
            await self._finished.wait()
        finally:
            self._player.close()
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host not in self._hosts:  # a page of another site that points its name here
            raise web.HTTPForbidden(text="wrong host")
        if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise web.HTTPForbidden(text="wrong origin")
        response = await handler(request)
        response.headers["Content-Security-Policy"] = CONTENT_POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name, kind = _FILES[request.match_info["file"]]
        text = (files("lvqa_ray.review") / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=kind, charset="utf-8")

    async def _get_queue(self, _: web.Request) -> web.StreamResponse:
        actions = [self._action(n) for n in range(len(self._queue.rows))]
        return web.json_response({"reviewer": self._reviewer, "actions": actions, "of": self._queue.of})

    async def _get_record(self, request: web.Request) -> web.StreamResponse:
        n = self._number(request)
        row = self._queue.rows[n]
        return web.json_response(
            {
                "id": row["id"],
                "video": row["video"],
                "category": row["category"],
                "kind": row.get("kind") or "choice",
                "texts": self._texts(n),
                "steps": [self._step(step) for step in row["parsed_reasoning"]["REASONS"]],
                "faults": [check for check in row["checks"] or [] if not check["passed"]],
                "solve_rate": row["solve_rate"],
                "blind_rate": row["blind_rate"],
                "action": self._action(n),
                "reason": (self._actions.get(n) or [{}])[-1].get("reason", ""),
            }
        )

    async def _decide(self, request: web.Request) -> web.StreamResponse:
        n = self._number(request)
        try:
            said = await request.json()
            action, reason, after = said["action"], str(said.get("reason") or ""), said.get("after")
        except (ValueError, KeyError, TypeError):
            return _refused("the request is not a decision")
        before = self._texts(n, edited=action == "undo")
        problem = _problem(action, reason, after, before) or self._undo_problem(n, action)
        if problem:
            return _refused(problem)
        original = texts_of(self._queue.rows[n])
        if action == "accept" and before != original:  # the edited texts are accepted
            action, after = "edit", before
        decision = decision_about(self._queue.rows[n], action, self._reviewer, reason=reason.strip())
        if action == "edit":
            decision = replace(decision, after=after)
        try:
            self._log.append(decision)
        except ConfigError as error:
            return web.json_response({"error": str(error)}, status=507)
        made = self._actions.setdefault(n, [])
        if action == "undo":
            made.pop()
        else:
            made.append({"action": action, "reason": reason.strip(), "after": decision.after})
        return web.json_response({"action": self._action(n)})

    async def _clip(self, request: web.Request) -> web.StreamResponse:
        n, number = self._number(request), int(request.match_info["step"])
        row = self._queue.rows[n]
        steps = row["parsed_reasoning"]["REASONS"]
        if number >= len(steps):
            raise web.HTTPNotFound
        step = steps[number]
        span = Span(start_s=step["start_s"], end_s=step["end_s"])
        paths = [self._queue.clips.get(clip, {}).get("media_path") for clip in step["clip_ids"] or ()]
        stored = [partial(self._player.stored, path) for path in paths if path]
        cut = partial(self._player.clip, f"{n}-{number}", row["video"], span)
        problems = []
        # A stored clip is small, and a whole film in a bucket is not; on this machine, the cut shows the span exactly.
        for way in [*stored, cut] if is_remote(row["video"]) else [cut, *stored]:
            try:
                return web.FileResponse(await way())
            except NoClipError as error:
                problems.append(str(error))
        return web.json_response({"error": problems[-1] if is_remote(row["video"]) else problems[0]}, status=404)

    async def _finish(self, _: web.Request) -> web.StreamResponse:
        asyncio.get_running_loop().call_later(0.2, self._finished.set)
        return web.json_response({})

    def _number(self, request: web.Request) -> int:
        n = int(request.match_info["n"])
        if n >= len(self._queue.rows):
            raise web.HTTPNotFound
        return n

    def _action(self, n: int) -> str:
        made = self._actions.get(n)
        return made[-1]["action"] if made else ""

    def _texts(self, n: int, *, edited: bool = True) -> Mapping[str, Any]:
        made = self._actions.get(n) or []
        after = next((one["after"] for one in reversed(made) if one["after"]), None) if edited else None
        return after or texts_of(self._queue.rows[n])

    def _undo_problem(self, n: int, action: str) -> str:
        return "there is nothing to undo" if action == "undo" and not self._actions.get(n) else ""

    def _step(self, step: Mapping[str, Any]) -> dict[str, Any]:
        captions = [self._queue.clips.get(clip, {}).get("caption") for clip in step["clip_ids"] or ()]
        return {
            "start": step["start_s"],
            "end": step["end_s"],
            "reasons": step["reasons"],
            "captions": [caption for caption in captions if caption],
        }


def _problem(action: object, reason: str, after: object, before: Mapping[str, Any]) -> str:
    """What is wrong with a decision, or an empty text."""
    if action not in ACTIONS:
        return f"an action is one of {', '.join(ACTIONS)}"
    if action == "drop" and not reason.strip():
        return "a dropped question needs a reason"
    if len(reason) > MAX_TEXT_CHARS:
        return "the reason is too long"
    return _edit_problem(after, before) if action == "edit" else ""


def _edit_problem(after: object, before: Mapping[str, Any]) -> str:
    if not isinstance(after, dict) or set(after) != set(before) or not isinstance(after["options"], dict):
        return "an edit has a question, options, an answer and a reasoning"
    texts = [after["question"], after["reasoning"], *after["options"].values()]
    if not all(isinstance(text, str) and text.strip() and len(text) <= MAX_TEXT_CHARS for text in texts):
        return "no text may be empty"
    if set(after["options"]) != set(before["options"]):
        return "the letters of the options must stay"
    if before["options"] and after["answer"] not in before["options"]:
        return "the answer is the letter of an option"
    if not before["options"] and after["answer"] != before["answer"]:
        return "the answer of this kind of question cannot be edited"
    options = [" ".join(text.split()).casefold() for text in after["options"].values()]
    return "two options are the same" if len(set(options)) < len(options) else ""


def _refused(why: str) -> web.Response:
    return web.json_response({"error": f"{why[0].upper()}{why[1:]}."}, status=400)
