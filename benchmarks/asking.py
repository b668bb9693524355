"""One measurement of `benchmarks/api.py`: a way to send requests to an endpoint, and its cost.

``python benchmarks/asking.py METHOD --url URL --count N`` prints it as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.startup import Sampler
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatRequest, Media, Message, Text
from lvqa_ray.records import Video
from lvqa_ray.stage import Chat

Row = dict[str, Any]
SLOW = "77"
"""The row that `--slow-s` delays."""
SOURCES = 4
"""Tasks that make clips."""


async def many(ask: Callable[[int], Awaitable[object]], count: int, at_once: int) -> int:
    """Send requests from concurrent tasks; returns the number without a reply."""
    numbers = iter(range(count))
    failed = 0

    async def work() -> None:
        nonlocal failed
        for number in numbers:
            try:
                await ask(number)
            except Exception:
                failed += 1

    await asyncio.gather(*(work() for _ in range(at_once)))
    return failed


def timed(ask_all: Callable[[], Awaitable[int]]) -> Row:
    async def run() -> Row:
        before, begun = time.process_time(), time.monotonic()
        failed = await ask_all()
        return {"seconds": time.monotonic() - begun, "cpu_s": time.process_time() - before, "failed": failed}

    return asyncio.run(run())


def payload(number: int) -> Row:
    return {"model": "fake-vlm", "messages": [{"role": "user", "content": f"Say something of number {number}."}]}


def raw(given: argparse.Namespace) -> Row:
    import aiohttp  # noqa: PLC0415 - each measurement includes only its own imports

    async def ask_all() -> int:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(number: int) -> None:
                async with session.post(f"{given.url}/chat/completions", json=payload(number)) as response:
                    await response.json()

            return await many(ask, given.count, given.cap)

    return timed(ask_all)


def plain(given: argparse.Namespace) -> Row:
    """The SDK in a loop; after a fault, it retries immediately, without a limit on attempts."""
    import openai  # noqa: PLC0415

    async def ask_all() -> int:
        client = openai.AsyncOpenAI(
            base_url=given.url,
            api_key="none",
            max_retries=0,
            timeout=given.timeout,
            http_client=openai.DefaultAioHttpClient(trust_env=False),
        )

        async def ask(number: int) -> None:
            while True:
                try:
                    async with asyncio.timeout(given.timeout):
                        await client.post("/chat/completions", cast_to=object, body=payload(number))
                    return
                except (openai.OpenAIError, OSError, ValueError):
                    if not given.again:
                        raise

        failed = await many(ask, given.count, given.cap)
        await client.close()
        return failed

    return timed(ask_all)


def request_of(number: int, megabytes: float) -> ChatRequest:
    parts: list[Text | Media] = [Text(text=f"Say something of number {number}.")]
    if megabytes:
        picture = os.urandom(1024) * round(1024 * megabytes * 0.75)  # base64 adds a third
        parts.append(Media(identity=str(number), mime="image/jpeg", data=picture))
    return ChatRequest(stage="bench", version="1", messages=(Message(role="user", parts=tuple(parts)),))


def sdk(given: argparse.Namespace) -> Row:
    """The SDK's typed call, as in its documentation, on the HTTP client that we use."""
    import openai  # noqa: PLC0415

    from lvqa_ray.llm.message_json import as_message  # noqa: PLC0415

    async def ask_all() -> int:
        http = openai.DefaultAioHttpClient(trust_env=False)
        async with openai.AsyncOpenAI(base_url=given.url, api_key="none", max_retries=0, http_client=http) as client:

            async def ask(number: int) -> None:
                messages: Any = [as_message(each) for each in request_of(number, given.megabytes).messages]
                reply = await client.chat.completions.create(model="fake-vlm", messages=messages)
                if not reply.choices[0].message.content:
                    raise ValueError

            return await many(ask, given.count, given.cap)

    return timed(ask_all)


def wire(given: argparse.Namespace) -> Row:
    """Our transport alone: no journal, no retries, no rate limits."""
    from pydantic import SecretStr  # noqa: PLC0415

    from lvqa_ray.llm.transport.chat_completions import OpenAITransport  # noqa: PLC0415

    async def ask_all() -> int:
        transport = OpenAITransport(endpoint_of(given), SecretStr(""))
        failed = await many(lambda number: transport(request_of(number, given.megabytes)), given.count, given.cap)
        await transport.aclose()
        return failed

    return timed(ask_all)


def endpoint_of(given: argparse.Namespace) -> Endpoint:
    return Endpoint(
        base_url=given.url,
        model="fake-vlm",
        api_key_env=None,
        max_concurrency=given.cap,
        requests_per_minute=given.rpm,
        timeout_s=given.timeout,
        max_attempts=12 if given.again else 6,
    )


def make_work(given: argparse.Namespace, folder: str) -> tuple[Any, Any]:
    """Build the parts of the job's chat worker, and its rate-limiter actor."""
    from pydantic import SecretStr  # noqa: PLC0415

    from lvqa_ray.engine.ray import rate_limit_actor  # noqa: PLC0415
    from lvqa_ray.engine.ray.chat_actor import ChatActor  # noqa: PLC0415
    from lvqa_ray.engine.ray.endpoints import EndpointHandle  # noqa: PLC0415
    from lvqa_ray.engine.ray.graph import CALLS_A_PLACE  # noqa: PLC0415
    from lvqa_ray.llm.ratelimit.limits import Limits  # noqa: PLC0415
    from lvqa_ray.stage import Prompted  # noqa: PLC0415
    from lvqa_ray.stage.steps import ChatStep  # noqa: PLC0415

    megabytes = given.megabytes

    class Bench(Prompted):
        name, role, version = "bench", "llm", "1"

    async def call(video: Video, chat: Chat) -> list[Video]:
        try:
            await chat(request_of(int(video.id), megabytes))
            await asyncio.sleep(given.slow_s if video.id == SLOW else 0.0)
        except Exception:
            return []
        return [video]

    endpoint = endpoint_of(given)
    (handle,) = rate_limit_actor.start([(Limits.of(endpoint), None)])
    lines = {"llm": [EndpointHandle(endpoint=endpoint, api_key=SecretStr(""), rate_limiter=handle)]}
    steps = [ChatStep(stage=Bench(), takes=Video, call=call)]

    class Work(ChatActor):
        def __init__(self) -> None:
            super().__init__(steps, lines, Path(folder), "bench", CALLS_A_PLACE * -(-given.cap // given.actors))

    return Work, handle


def video(number: int) -> Video:
    return Video(id=str(number), uri=f"{number}.mp4", fingerprint="")


def ours(given: argparse.Namespace) -> Row:
    """Chat workers of the job, fed directly."""
    import ray  # noqa: PLC0415

    with cluster(), tempfile.TemporaryDirectory() as folder:
        work, handle = make_work(given, folder)

        class Worker:
            async def warm(self) -> float:
                self.work = work()
                return _peak_mb()

            async def run(self, first: int, count: int) -> Row:
                from lvqa_ray.engine.ray.graph import CALLS_A_PLACE  # noqa: PLC0415

                async def ask(number: int) -> None:
                    if not await self.work.through(video(first + number)):
                        raise ValueError

                before = time.process_time()
                failed = await many(ask, count, CALLS_A_PLACE * given.cap // given.actors)
                return {"cpu_s": time.process_time() - before, "failed": failed, "peak_mb": _peak_mb()}

        share = given.count // given.actors
        workers = [ray.remote(Worker).options(num_cpus=0).remote() for _ in range(given.actors)]
        idle_mb = max(ray.get([worker.warm.remote() for worker in workers]))
        pid = ray.get(handle.traffic()).pid
        before, begun = _cpu_s(pid), time.monotonic()
        done = ray.get([worker.run.remote(n * share, share) for n, worker in enumerate(workers)])
        seconds = time.monotonic() - begun
        return {
            "seconds": seconds,
            "cpu_s": sum(row["cpu_s"] for row in done),
            "rate_limiter_cpu_s": _cpu_s(pid) - before,
            "failed": sum(row["failed"] for row in done),
            "grown_mb": max(row["peak_mb"] for row in done) - idle_mb,
        }


def ours_data(given: argparse.Namespace) -> Row:
    """The same chat workers behind Ray Data, as in the job's graph: tasks make bundles of clips as fast as they can."""
    import ray  # noqa: PLC0415

    from lvqa_ray.engine.ray.clips_per_task import MOST_TOGETHER  # noqa: PLC0415
    from lvqa_ray.engine.ray.graph import chat_pool, configure  # noqa: PLC0415
    from lvqa_ray.engine.row_codec import batch_by_time, pack, rows_of  # noqa: PLC0415

    with cluster(), tempfile.TemporaryDirectory() as folder:
        work, _handle = make_work(given, folder)
        configure()
        pool = chat_pool(given.actors, given.actors, -(-given.cap // given.actors))
        share = -(-given.count // SOURCES)

        def source(row: Row) -> Iterator[Row]:
            last = min(given.count, (row["item"] + 1) * share)
            yield from batch_by_time((pack(video(n)) for n in range(row["item"] * share, last)), MOST_TOGETHER)

        rows = ray.data.from_items(list(range(SOURCES)), override_num_blocks=SOURCES).flat_map(source)
        answered, blocks, rest_s = 0, 0, 0.0
        made = rows.flat_map(work, compute=pool, num_cpus=0)
        sampler = Sampler(os.getpid(), every_s=1.0)  # this process is part of what is measured
        with sampler:
            begun = time.monotonic()
            for block in made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                rest_s = rest_s if answered == given.count - 1 else time.monotonic() - begun
                answered += len(list(rows_of(block)))
                blocks += 1
                print(f"{time.monotonic() - begun:.1f} s: {answered}", file=sys.stderr)
            seconds = time.monotonic() - begun
        return {
            "seconds": seconds,
            "seconds_of_all_but_one": rest_s,
            "failed": given.count - answered,
            "blocks": blocks,
            "cpu_s_of_processes": {name: round(sum(spent), 1) for name, spent in sampler.by_title.items()},
        }


def rays(given: argparse.Namespace) -> Row:
    """Ray Data's own HTTP processor with its defaults."""
    import ray  # noqa: PLC0415
    from ray.data.llm import HttpRequestProcessorConfig, build_processor  # noqa: PLC0415

    with cluster(services=True):
        processor = build_processor(
            HttpRequestProcessorConfig(url=f"{given.url}/chat/completions", concurrency=given.actors),
            preprocess=lambda row: {"payload": payload(row["id"])},
            postprocess=lambda row: {"text": row["http_response"]["choices"][0]["message"]["content"]},
        )
        begun = time.monotonic()
        answered = processor(ray.data.range(given.count)).count()
        return {"seconds": time.monotonic() - begun, "failed": given.count - answered}


METHODS = {"raw": raw, "plain": plain, "sdk": sdk, "wire": wire, "ours": ours, "ours_data": ours_data, "rays": rays}


@contextmanager
def cluster(*, services: bool = False) -> Iterator[None]:
    """Start Ray as a run does, or with the services of a cluster."""
    import ray  # noqa: PLC0415

    from lvqa_ray.engine.ray.session import local_services  # noqa: PLC0415

    with nullcontext() if services else local_services.node_without_services():
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        with nullcontext() if services else local_services.data_without_actors():
            yield
    finally:
        ray.shutdown()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--cap", type=int, default=256)
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--rpm", type=int)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--megabytes", type=float, default=0.0)
    parser.add_argument("--slow-s", type=float, default=0.0, help="seconds by which one row takes longer")
    parser.add_argument("--again", action="store_true", help="ask again what failed, as often as it takes")
    given = parser.parse_args()
    print(json.dumps(METHODS[given.method](given)))


if __name__ == "__main__":
    main()
