"""Prompt cache and leader-first scheduling: ``python benchmarks/prefix_cache.py [--films N] [--rounds N]``.

Runs the same corpus of small films with and without ``leader_first`` against the fake endpoint, whose prompt cache
holds blocks of 128 tokens of finished requests for 5 minutes and which keeps its own ledger. Prints the bill and the
ledger, the hit rates of `solve` and `ask`, and the time. The checker is another model than the writer, or the same with
``--same``: then the request that wrote the questions has filled the cache already.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lvqa_ray.config import Job
from lvqa_ray.engine.run import RunSummary, run
from tests.fakes import answers
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.prefix_cache import PrefixCache

SECONDS, FPS, WORDS = 24, 2, 400
"""Length and frame rate of a film with one clip per second, and words of a caption. All captions of a film are half as
long as those of an hour in clips of 10 s with 60 tokens each."""
MODELS = ("fake-vlm", "fake-llm", "fake-checker")
PRICE_IN, PRICE_OUT, PRICE_CACHED = 0.25, 2.0, 0.025


def make_film(path: Path, number: int) -> None:
    """Write a small film that differs from all others."""
    draw = np.random.default_rng(number)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(SECONDS * FPS):
            blocks = draw.integers(0, 256, (4, 4, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
            frame = VideoFrame.from_ndarray(blocks, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def caption(body: dict[str, Any]) -> str | None:
    """A long caption for pictures; ``None`` for other requests, which get the fake's own replies."""
    if not answers.media_urls(body):
        return None
    digest = hashlib.sha256("".join(answers.media_urls(body)).encode()).hexdigest()
    words = [f"w{hashlib.sha256(f'{digest}{n}'.encode()).hexdigest()[:4]}" for n in range(WORDS - 2)]
    return f"A {' '.join(words)} passes."


def measure(folder: Path, films: Path, given: argparse.Namespace, leader_first: bool) -> dict[str, Any]:
    """One run: its bill, the ledger's, the hit rates by stage, and its time."""
    cache = PrefixCache()
    with FakeEndpoint(
        latency_s=given.latency,
        jitter_s=given.latency / 2,
        answer=caption,
        prices=(PRICE_IN, PRICE_OUT),
        price_cached=PRICE_CACHED,
        prefix_cache=cache,
        keep_bodies=False,
        models=MODELS,
    ) as fake:
        at = {
            "base_url": fake.base_url,
            "api_key_env": None,
            "price_in": PRICE_IN,
            "price_out": PRICE_OUT,
            "price_cached": PRICE_CACHED,
            "max_concurrency": given.at_once,
            "leader_first": leader_first,
        }
        writer = {**at, "model": "fake-llm"}
        job = Job.of(
            {
                "videos": str(films),
                "output": str(folder),
                "endpoints": {
                    "vlm": {**at, "model": "fake-vlm"},
                    "llm": writer,
                    "checker": writer if given.same else {**at, "model": "fake-checker"},
                },
                "split": {"max_seconds": 1, "min_seconds": 0.5},
                "sample": {"count": 1},
                "ask": {"quota": {"temporal": 2, "goal": 2, "spatial": 2, "plot": 2}},
                "checks": {"blind": {"policy": "mark"}, "solve": {"policy": "mark"}},
                "engine": {"num_cpus": 2},
            }
        )
        summary: RunSummary = run(job)
        if summary.failures or not summary.records:
            raise SystemExit(f"{summary.records} of {given.films} films have questions: {summary.failures}")
        bill = sum(part.cost_usd or 0.0 for part in summary.spent.values())
        return {
            "bill": bill,
            "ledger": fake.ledger.usd,
            "solve": summary.spent["solve"].hit_share,
            "ask": summary.spent["ask"].hit_share,
            "seconds": summary.seconds,
            "requests": fake.asked,
            "questions": summary.records,
        }


def main() -> None:
    """Print a table of runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.5, help="least seconds of a reply")
    parser.add_argument("--at-once", type=int, default=64, help="max_concurrency of each endpoint")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--same", action="store_true", help="the checker is the model that writes the questions")
    given = parser.parse_args()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    print(f"{given.films} films, {given.latency} s a reply, load {os.getloadavg()[0]:.1f}\n")
    print(
        "| leader_first | bill | ledger | hits of solve | of ask | seconds | requests |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="lvqa-prefix-") as temporary:
        films = Path(temporary) / "films"
        films.mkdir()
        for number in range(given.films):
            make_film(films / f"film{number:03d}.mp4", number)
        for turn in range(given.rounds):
            for first in (True, False) if turn % 2 else (False, True):
                row = measure(Path(temporary) / f"out-{turn}-{first}", films, given, first)
                seconds[first].append(row["seconds"])
                print(
                    f"| {'on' if first else 'off'} | ${row['bill']:.6f} | ${row['ledger']:.6f} | {row['solve']:.3f} "
                    f"| {row['ask']:.3f} | {row['seconds']:.1f} | {row['requests']} |",
                    flush=True,
                )
                if abs(row["bill"] - row["ledger"]) > 1e-6:
                    raise SystemExit("the bill differs from the ledger")
    more = 100 * (median(seconds[True]) / median(seconds[False]) - 1)
    print(f"\nWaiting for leaders costs {more:+.1f} % of the time (medians of {given.rounds}).")


if __name__ == "__main__":
    main()
