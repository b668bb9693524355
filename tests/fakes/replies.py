"""HTTP replies on the wire, complete and truncated."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from tests.fakes import answers
from tests.fakes.faults import Status


def completion(body: dict[str, Any], text: str, cached: int | None = None) -> dict[str, Any]:
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    tokens_in, tokens_out = answers.tokens_in(body), answers.tokens_out(text)
    return {
        "id": f"chatcmpl-{answers.fingerprint(body)[:12]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        **{name: body[name] for name in ("service_tier",) if name in body},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
            **details,
        },
    }


def error(fault: Status) -> web.Response:
    body = {"message": fault.message, "type": fault.type, "param": None, "code": fault.code, **fault.extra}
    return web.json_response({"error": body}, status=fault.status, headers=dict(fault.headers))


def drop(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def streamed(
    request: web.Request, reply: dict[str, Any], pause_s: float, *, cut: bool = False
) -> web.StreamResponse:
    """Send a completion as events of a few characters each; with ``cut`` only half of them, and then nothing."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    text = reply["choices"][0]["message"]["content"]
    size = max(1, len(text) // 8)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    deltas: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    ends = [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": reply["usage"]}]
    for event in deltas[: len(deltas) // 2] if cut else [*deltas, *ends]:
        data = json.dumps({"model": reply["model"], **event}, ensure_ascii=False)
        await response.write(f"data: {data}\n\n".encode())
        await asyncio.sleep(pause_s)
    if cut:
        drop(request)
    else:
        await response.write(b"data: [DONE]\n\n")
    return response


async def cut_off(request: web.Request, reply: dict[str, Any]) -> web.StreamResponse:
    """Send half of the announced body, then close the connection."""
    whole = json.dumps(reply).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    drop(request)
    return response
