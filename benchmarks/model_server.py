"""Requests per second through the proxy of served models, against the same servers asked directly.

``python benchmarks/model_server.py --replicas 8 --slots 8 --latency 1`` starts a local Ray with Ray Serve and one
fake model server per replica (``tests/fakes/relay.py`` in front of a fake endpoint), keeps ``replicas x slots``
requests in flight, both ways in turn, and prints the medians, their ratio, and the CPU time per request of Ray Serve's
proxy and replicas. Direct requests go to relays too, as many, in turn. The first requests start evenly over one
latency: replies of real models differ in length, so their requests do not come all at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from lvqa_ray.config import Job  # noqa: E402 - after the path
from lvqa_ray.engine.ray.models.model_servers import served_models  # noqa: E402 - as above
from lvqa_ray.engine.ray.session.cluster import ray_session_for  # noqa: E402 - as above

RELAY = str(ROOT / "tests" / "fakes" / "relay.py")
TITLES = ("ServeReplica", "ProxyActor")
CLOCK = os.sysconf("SC_CLK_TCK")


@contextmanager
def relays(number: int, target: int) -> Iterator[list[str]]:
    """As many relays as there are replicas, without Ray; gives their base URLs."""
    ports = []
    for _ in range(number):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    started = [subprocess.Popen([sys.executable, RELAY, str(port), str(target)]) for port in ports]
    time.sleep(3.0)
    try:
        yield [f"http://127.0.0.1:{port}/v1" for port in ports]
    finally:
        for process in started:
            process.terminate()
            process.wait()


@contextmanager
def fake_endpoint(latency_s: float) -> Iterator[int]:
    """A fake endpoint as a process of its own; gives its port."""
    words = [sys.executable, "-m", "tests.fakes.endpoint", "--port", "0", "--latency", str(latency_s)]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        line = process.stdout.readline() if process.stdout else ""
        yield int(line.partition("/v1")[0].rpartition(":")[2])
        process.terminate()


async def throughput(urls: Sequence[str], in_flight: int, seconds: float, image_bytes: int, latency_s: float) -> float:
    """Replies per second with this many requests in flight, after two latencies of warm-up."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + "A" * image_bytes}}
    done, errors, begins = 0, 0, time.monotonic() + 2 * latency_s
    until = begins + seconds

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal done, errors
        await asyncio.sleep(number / in_flight * latency_s)
        while time.monotonic() < until:
            content = [{"type": "text", "text": f"Describe clip {number}."}, picture]
            body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()
            async with session.post(
                f"{urls[number % len(urls)]}/chat/completions", data=body, headers={"content-type": "application/json"}
            ) as answer:
                await answer.read()
                if begins < time.monotonic() < until:
                    done += answer.status == 200
                    errors += answer.status != 200

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(ask(session, number) for number in range(in_flight)))
    if errors:
        print(f"{errors} requests failed")
    return done / seconds


def cpu_s() -> float:
    """CPU seconds so far of Ray Serve's proxy and replicas."""
    total = 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and any(name in (process / "cmdline").read_text() for name in TITLES):
                parts = (process / "stat").read_text().rpartition(")")[2].split()
                total += int(parts[11]) + int(parts[12])
        except OSError:
            continue
    return total / CLOCK


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds of a reply")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--image-kb", type=int, default=100, help="base64 of pictures in a request")
    args = parser.parse_args()
    with fake_endpoint(args.latency) as port, relays(args.replicas, port) as urls:
        at = {
            "engine": "command",
            "model": "m",
            "command": [sys.executable, RELAY, "{port}", str(port)],
            "replicas": args.replicas,
            "slots": args.slots,
            "cpus": 0,
        }
        endpoints = {"vlm": at, "llm": at}
        job = Job.of({"videos": ["none"], "output": "none", "endpoints": endpoints, "engine": {"num_cpus": 2}})
        with ray_session_for(job), served_models(job, lambda _: None) as running:
            (model,) = running.values()
            direct, proxied, cpu, replies = [], [], 0.0, 0.0
            for _ in range(args.rounds):
                work = (args.replicas * args.slots, args.seconds, 1024 * args.image_kb, args.latency)
                direct.append(asyncio.run(throughput(urls, *work)))
                before = cpu_s()
                proxied.append(asyncio.run(throughput([model.address], *work)))
                cpu += cpu_s() - before
                replies += proxied[-1] * (args.seconds + 1.5 * args.latency)
    print(
        json.dumps(
            {
                "direct_per_s": round(statistics.median(direct), 1),
                "proxied_per_s": round(statistics.median(proxied), 1),
                "ratio": round(statistics.median(proxied) / statistics.median(direct), 3),
                "cpu_ms_per_request": round(1000 * cpu / max(1.0, replies), 1),
                **vars(args),
            }
        )
    )


if __name__ == "__main__":
    main()
