"""Price tiers compared on one corpus: ``python benchmarks/tiers.py [--films N] [--executor local|ray]``.

Runs the same small films on every tier, with and without ``leader_first``, against the fake endpoint. It has a prompt
cache (blocks of 128 tokens of finished requests, 5 minutes), refuses a share of the requests on ``flex``, and keeps its
own ledger. Prints for each run the bill, the ledger, the hit rates of `solve` and `ask`, and the requests. Ends with an
error if ``data/`` differs between tiers in anything but usage and run, if a bill differs from the ledger by a cent or
more, or if a request is paid twice or is in two file batches.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.prefix_cache import MODELS, PRICE_CACHED, PRICE_IN, PRICE_OUT, caption, make_film
from lvqa_ray.config import Job
from lvqa_ray.engine.run import run
from tests.engine.test_tiers import said
from tests.fakes.answers import answer, text_of, tokens_in, tokens_out
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.ledger import SHARES
from tests.fakes.prefix_cache import PrefixCache

TIERS = ("standard", "flex", "batch_chat", "batch")
REFUSED = 0.2
"""Share of the requests on ``flex`` that are refused for lack of capacity."""
CENT = 0.01


@dataclass(frozen=True, slots=True)
class Measured:
    """One run.

    Attributes:
        bill: Dollars by the run's own count.
        ledger: Dollars by the endpoint's, less those of the request that tests a tier before the run.
        solve: Share of the prompt tokens of `solve` that the cache had.
        ask: The same of `ask`.
        requests: Paid requests.
        seconds: Its time (s).
        rows: The rows of ``data/`` without usage and run.
    """

    bill: float
    ledger: float
    solve: float | None
    ask: float | None
    requests: int
    seconds: float
    rows: list[dict[str, Any]]


def measure(fake: FakeEndpoint, output: Path, films: Path, tier: str, *, leader_first: bool, executor: str) -> Measured:
    """Run the corpus on a tier, with an empty prompt cache."""
    fake.tier = tier if tier == "batch_chat" else "standard"
    fake.prefix_cache = PrefixCache()
    fake.paid.clear()
    fake.requests.clear()
    fake.batches.asked.clear()
    before = fake.ledger.usd
    at = {
        "base_url": fake.base_url,
        "api_key_env": None,
        "price_in": PRICE_IN,
        "price_out": PRICE_OUT,
        "price_cached": PRICE_CACHED,
        "max_concurrency": 64,
        "leader_first": leader_first,
        "tier": tier,
        "batch_poll_s": 0.5,
        "backoff_base_s": 0.05,
    }
    roles = dict(zip(("vlm", "llm", "checker"), MODELS, strict=True))
    summary = run(
        Job.of(
            {
                "videos": str(films),
                "output": str(output),
                "endpoints": {role: {**at, "model": model} for role, model in roles.items()},
                "split": {"max_seconds": 1, "min_seconds": 0.5},
                "sample": {"count": 1},
                "ask": {"quota": {"temporal": 2, "goal": 2, "spatial": 2, "plot": 2}},
                "checks": {"blind": {"policy": "mark"}, "solve": {"policy": "mark"}},
                "engine": {"num_cpus": 2, "executor": executor},
            }
        )
    )
    if summary.failures or not summary.records:
        raise SystemExit(f"{tier}: {summary.records} records, failures: {summary.failures}")
    if max(fake.paid.values()) > 1 or max(fake.batches.asked.values(), default=0) > 1:
        raise SystemExit(f"{tier}: a request was paid twice or was in two batches")
    tests = [asked.body for asked in fake.requests if "Reply with the word yes" in text_of(asked.body)]
    tested = sum(tokens_in(body) * PRICE_IN + tokens_out(answer(body)) * PRICE_OUT for body in tests)
    return Measured(
        bill=sum(part.cost_usd or 0.0 for part in summary.spent.values()),
        ledger=fake.ledger.usd - before - tested * SHARES[tier] / 1e6,
        solve=summary.spent["solve"].hit_share,
        ask=summary.spent["ask"].hit_share,
        requests=fake.paid.total() - len(tests),
        seconds=summary.seconds,
        rows=said(output),
    )


def main() -> None:
    """Print a table of runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--latency", type=float, default=0.2, help="least seconds of a reply")
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    given = parser.parse_args()
    print("| tier | leader_first | bill | ledger | hits of solve | of ask | requests | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    first: Measured | None = None
    with (
        tempfile.TemporaryDirectory(prefix="lvqa-tiers-") as temporary,
        FakeEndpoint(
            latency_s=given.latency,
            jitter_s=given.latency / 2,
            answer=caption,
            prices=(PRICE_IN, PRICE_OUT),
            price_cached=PRICE_CACHED,
            models=MODELS,
            flex=REFUSED,
        ) as fake,
    ):
        films = Path(temporary) / "films"
        films.mkdir()
        for number in range(given.films):
            make_film(films / f"film{number:03d}.mp4", number)
        for tier in TIERS:
            for leader_first in (False, True):
                output = Path(temporary) / f"out-{tier}-{leader_first}"
                row = measure(fake, output, films, tier, leader_first=leader_first, executor=given.executor)
                first = first or row
                print(
                    f"| {tier} | {'on' if leader_first else 'off'} | ${row.bill:.6f} | ${row.ledger:.6f} "
                    f"| {row.solve or 0.0:.3f} | {row.ask or 0.0:.3f} | {row.requests} | {row.seconds:.1f} |",
                    flush=True,
                )
                if abs(row.bill - row.ledger) >= CENT:
                    raise SystemExit("the bill differs from the ledger")
                pairs = zip(row.rows, first.rows, strict=True)
                if other := {name for mine, its in pairs for name in mine if mine[name] != its[name]}:
                    raise SystemExit(f"the rows of {tier} differ from those of {TIERS[0]} in {sorted(other)}")
                if row.requests != first.requests:
                    raise SystemExit(f"{tier} has {row.requests} requests, and {TIERS[0]} {first.requests}")
        print(f"\nThe {len(first.rows) if first else 0} rows of data/ are the same in all runs.")


if __name__ == "__main__":
    main()
