"""Replies of a small real language model, and what parsers and checks make of them.

``python benchmarks/small_model.py harvest FILE [--each N]`` serves SmolLM2-135M-Instruct with llama.cpp, sends it the
prompts of stage `ask` in every reply format, and appends the replies to a JSON lines file.
``python benchmarks/small_model.py read FILE`` prints a table: how many replies each parser reads.
``python benchmarks/small_model.py replay FILE`` answers the stage `ask` of a real run with the JSON replies, and prints
which check dropped which question. The demo endpoint captions the generated videos, whose content is known, and checks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiohttp
from aiohttp import web

from lvqa_ray import config
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.demo.endpoint import DemoEndpoint
from lvqa_ray.demo.language_model import fetch_language_model
from lvqa_ray.engine.run import run
from lvqa_ray.errors import ParseError
from lvqa_ray.llm.endpoint import DEMO_MODEL
from lvqa_ray.qa.formats.reply_format import JSON, TEXT, ReplyFormat
from lvqa_ray.qa.keyed_tasks import Batch
from lvqa_ray.records import CaptionedVideo, Kind, Video, VideoInfo
from lvqa_ray.stages.ask import AskQuestions
from tests import media

SLOTS = 3
FILMS = (
    ("dim and mainly red", "dim and mainly green", "dim and mainly purple", "bright and mainly yellow"),
    (
        "bright and mainly white and grey",
        "dark and mainly blue",
        "dim and mainly red",
        "dark and mainly blue",
        "bright",
    ),
    ("very dark and mainly black", "dim and mainly teal", "bright and mainly orange", "dim and mainly teal"),
)
EXAMPLE = """\


This is an example of such a reply, about another video:

QUESTION: Which dish does the cook put into the oven after washing the spinach?
OPTIONS:
A. The apple pie
B. The lasagna
C. The flat bread
D. The roast
ANSWER: B
REASONS:
##### From [10 to 20]:
- The cook washes spinach.
##### From [30 to 44]:
- The cook puts a lasagna into the oven, so it is the lasagna."""
KINDS: Mapping[str, tuple[ReplyFormat, int, Kind, str]] = {
    "text": (TEXT, 1, "choice", ""),
    "text with an example": (TEXT, 1, "choice", EXAMPLE),
    "text, two questions": (TEXT, 2, "choice", EXAMPLE),
    "json_schema": (JSON, 1, "choice", ""),
    "json_schema, two questions": (JSON, 2, "choice", ""),
    **{f"text, {kind}": (TEXT, 1, kind, "") for kind in ("span", "number", "open")},
    **{f"json_schema, {kind}": (JSON, 1, kind, "") for kind in ("span", "number", "open")},
}
"""Shapes of requests: format, number of questions, kind, and what follows the prompt."""


def captioned(film: int) -> CaptionedVideo:
    """A film of scenes of five seconds with exact captions."""
    looks = FILMS[film % len(FILMS)]
    lines = [f"From {5 * n} to {5 * n + 5}, the picture is {look}." for n, look in enumerate(looks)]
    info = VideoInfo(num_frames=125 * len(looks), height=90, width=160, fps=25.0, duration_sec=5.0 * len(looks))
    video = Video(id=f"film{film}", uri=f"film{film}.mp4", fingerprint="f")
    return CaptionedVideo(video=video, info=info, clips=(), captions="\n".join(lines), num_clips=len(lines))


def body(shape: str, film: int, attempt: int, max_tokens: int) -> dict[str, Any]:
    """A chat request of stage `ask`."""
    form, count, kind, more = KINDS[shape]
    stage = AskQuestions(quota={"temporal": 1, "plot": count - 1} if count > 1 else {"temporal": 1})
    part = Batch(0, ("temporal", "plot")[:count], kind)
    request = stage.request(captioned(film), part=part, form=form)
    text = "".join(part.text for part in request.messages[-1].parts if hasattr(part, "text"))
    sent: dict[str, Any] = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": text + more}],
        "max_tokens": max_tokens,
        "seed": 1000 * film + attempt,
    }
    if request.reply_schema is not None:
        schema = {"name": request.reply_schema.name, "strict": True, "schema": dict(request.reply_schema.schema)}
        sent["response_format"] = {"type": "json_schema", "json_schema": schema}
    return sent


@contextmanager
def served() -> Iterator[str]:
    """The model behind an address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = fetch_language_model()
    options = (
        f"--parallel {SLOTS} --ctx-size {SLOTS * 2048} --threads 1 --n-gpu-layers 0 --host 127.0.0.1 --port {port}"
    )
    command = [sys.executable, "-m", "lvqa_ray.llm.engines.xllamacpp_server", "--model", str(model), *options.split()]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                        break
                except OSError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1/chat/completions"
        finally:
            server.terminate()


async def harvest(url: str, path: Path, shapes: str, each: int, max_tokens: int) -> None:
    """Append the replies to each shape of request: one prompt after the other, since the server keeps the last ones."""
    todo = iter([(shape, film, n) for film, shape in enumerate(KINDS) for n in range(each) if shapes in shape])
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as session:

        async def work() -> None:
            for shape, film, attempt in todo:
                async with session.post(url, json=body(shape, film, attempt, max_tokens)) as response:
                    reply = await response.json()
                if "choices" not in reply:
                    print(reply)
                    continue
                choice = reply["choices"][0]
                line = {"shape": shape, "film": film, "finish": choice["finish_reason"]}
                with path.open("a") as file:
                    file.write(json.dumps({**line, "text": choice["message"]["content"]}) + "\n")

        await asyncio.gather(*(work() for _ in range(SLOTS)))


def read(path: Path) -> None:
    """Print how many replies each parser reads, and why it rejects the others."""
    replies = [json.loads(line) for line in path.read_text().splitlines()]
    for shape, (form, count, kind, _) in KINDS.items():
        found: Counter[str] = Counter()
        reads = form.shape(count, kind).read
        mine = [reply for reply in replies if reply["shape"] == shape]
        for reply in mine:
            if reply["finish"] == "length":
                found["cut off"] += 1
                continue
            try:
                readings = list(reads(reply["text"] or ""))
            except ParseError as error:
                found[error.kind] += 1
                continue
            for one in readings[:count]:
                found["read" if one.question else one.error.kind if one.error else ""] += 1
        print(f"| {shape} | {len(mine)} | {', '.join(f'{name} {n}' for name, n in found.most_common())} |")


def replay(path: Path) -> None:
    """Run a job whose questions are recorded replies, and print what became of them."""
    shapes = {"choice": "json_schema", **{kind: f"json_schema, {kind}" for kind in ("span", "number", "open")}}
    replies = [json.loads(line) for line in path.read_text().splitlines()]
    ended = {kind: [one for one in replies if one["shape"] == shape] for kind, shape in shapes.items()}
    films = max(map(len, ended.values()))
    left = {kind: iter(found) for kind, found in ended.items()}

    async def answer(request: web.Request) -> web.Response:
        schema = json.dumps((await request.json()).get("response_format"))
        told = {"spans": "span", "tolerance": "number", "rubric": "open"}
        kind = next((kind for field, kind in told.items() if f'"{field}"' in schema), "choice")
        one = next(left[kind], {"text": "{}", "finish": "stop"})
        choice = {"index": 0, "finish_reason": one["finish"], "message": {"role": "assistant", "content": one["text"]}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return web.json_response(
            {"id": "1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
        )

    with tempfile.TemporaryDirectory() as scratch, DemoEndpoint() as demo, _in_a_thread(answer) as url:
        videos = [
            media.make_video(Path(scratch) / f"film{n}.mp4", seconds=20 + n / 25, scenes=(5, 10, 15))
            for n in range(films)
        ]
        at = {"base_url": demo.url, "model": DEMO_MODEL, "api_key_env": None}
        content = {
            "videos": [str(video) for video in videos],
            "output": str(Path(scratch) / "out"),
            "endpoints": {"vlm": at, "checker": at, "llm": {"base_url": url, "model": "m", "api_key_env": None}},
            "split": {"mode": "fixed", "max_seconds": 5},
            "ask": {
                "quota": {"temporal": 1},
                "kinds": {"span": 1, "number": 1, "open": 1},
                "reply_format": "json_schema",
                "per_call": 1,
                "reasks": 0,
                "fresh_tries": 0,
            },
            "engine": {"executor": "local"},
        }
        run(config.Job.of(content))
        dropped = Counter(row["check"] for row in read_rows(Path(scratch) / "out", "drops") if row["check"] != "ask")
        kept = [row["full_question"] for row in read_rows(Path(scratch) / "out", "data")]
    print(f"{dropped.total() + len(kept)} questions could be read. Dropped by check: {dict(dropped)}. Kept: {kept}")


@contextmanager
def _in_a_thread(answer: Callable[[web.Request], Awaitable[web.Response]]) -> Iterator[str]:
    """An endpoint in a thread of this process."""
    loop, up = asyncio.new_event_loop(), threading.Event()
    found: list[str] = []

    async def start() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([web.post("/v1/chat/completions", answer)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.append(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        up.set()

    loop.create_task(start())
    threading.Thread(target=loop.run_forever, daemon=True).start()
    up.wait()
    yield found[0]
    loop.call_soon_threadsafe(loop.stop)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("what", choices=["harvest", "read", "replay"])
    arguments.add_argument("path", type=Path)
    arguments.add_argument("--each", type=int, default=20, help="Replies to each shape of request.")
    arguments.add_argument("--shapes", default="", help="Only shapes whose name has this text.")
    arguments.add_argument("--max-tokens", type=int, default=220)
    given = arguments.parse_args()
    if given.what == "harvest":
        with served() as url:
            asyncio.run(harvest(url, given.path, given.shapes, given.each, given.max_tokens))
    (replay if given.what == "replay" else read)(given.path)


if __name__ == "__main__":
    main()
