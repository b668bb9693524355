"""Stubs in Ray's workers for `benchmarks.scale_graph`: endpoint, decoder, and a clock around the journal."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lvqa_ray.engine.ray import chat_actor, decode_task
from lvqa_ray.engine.result_cache import PaidCaptions
from lvqa_ray.engine.row_codec import Packed, pack
from lvqa_ray.engine.step_runner import run_video_steps
from lvqa_ray.journal.found_clips import ClipIndex
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Part, Text
from lvqa_ray.llm.middleware import client
from lvqa_ray.records import Usage
from lvqa_ray.stage.steps import VideoStep
from tests.fakes import answers

LATENCY_S = 0.05
CLOCKS = "LVQA_SCALE_CLOCKS"
"""Environment variable with the folder of the clocks."""


def environment(clocks: Path) -> dict[str, str]:
    """Environment in which each Ray worker calls `in_worker` when it starts.

    Ray's public way is a runtime environment, for which a local Ray of this project has no agent.

    Args:
        clocks: Folder for the times in the journal.
    """
    root = str(Path(__file__).resolve().parents[1])
    return {
        "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": f"{__name__}.{in_worker.__name__}",
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
        CLOCKS: str(clocks),
    }


def in_worker() -> None:
    """Replace the endpoint and the decoder in this process, and measure the journal."""
    chat_actor.wire = StubTransport
    decode_task.decoder = NoChild
    clock = Clock(Path(os.environ[CLOCKS]) / str(os.getpid()))
    client.cache_key = clock.of(client.cache_key)
    for owner, names in ((JournalReplyStore, ("__init__", "get", "put")), (ClipIndex, ("get", "put"))):
        for name in names:
            setattr(owner, name, clock.of(getattr(owner, name)))
    PaidCaptions.get = clock.of(PaidCaptions.get)


class StubTransport:
    """Stub transport: the fake endpoint's replies after a delay, without a socket."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """See `OpenAITransport`."""
        await asyncio.sleep(LATENCY_S)
        body = {"messages": [{"content": [_part(part) for part in message.parts]} for message in request.messages]}
        usage = Usage(calls=1, input_tokens=100, output_tokens=20)
        return ChatReply(text=answers.answer(body), model="stub", usage=usage)


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    return {"type": "image_url", "image_url": {"url": part.identity}}


class NoChild:
    """Stub of the decode process."""

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, steps: Sequence[VideoStep], row: object, *_: object) -> Iterator[Packed]:
        """See `Decoder`."""
        return map(pack, run_video_steps(steps, row, lambda *_: None))


class Clock:
    """Profiler that adds up the time in functions (nested calls once), and writes it to a file per process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT)
        self._seconds = 0.0
        self._inside = False

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time is added."""

        def timed(*args: object, **more: object) -> object:
            if self._inside:
                return function(*args, **more)
            self._inside, begun = True, time.perf_counter()
            try:
                return function(*args, **more)
            finally:
                self._inside = False
                self._seconds += time.perf_counter() - begun
                os.pwrite(self._file, f"{self._seconds:20.9f}".encode(), 0)

        return timed
