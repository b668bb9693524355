"""Command line of the fake endpoint."""

from __future__ import annotations

import argparse
import json
import threading

from tests.fakes.endpoint import FakeEndpoint, Fault, Status


def main() -> None:
    """Run the endpoint until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.endpoint", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8123, help="port on loopback, 0 for a free one")
    parser.add_argument("--latency", type=float, default=0.0, metavar="S", help="seconds before each answer")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="S", help="upper bound of further seconds")
    parser.add_argument("--seed", type=int, default=0, help="of the faults and the jitter")
    parser.add_argument("--slots", type=int, help="requests worked on at once; the others queue without a word")
    parser.add_argument("--rpm", type=int, help="requests taken in any 60 seconds")
    parser.add_argument("--tpm", type=int, help="tokens, of prompts and replies, taken in any 60 seconds")
    parser.add_argument("--rate-headers", action="store_true", help="say in x-ratelimit-* what is left")
    parser.add_argument(
        "--outage", action="append", default=[], metavar="AT:S",
        help="drop connections for S seconds, AT seconds after the first request; repeat for more",
    )  # fmt: skip
    parser.add_argument("--retry-after", choices=["seconds", "date", "ms", "none"], default="seconds")
    parser.add_argument("--api-key", help="the key that is asked for")
    parser.add_argument("--model", action="append", help="a model that exists; repeat for more; all exist without")
    parser.add_argument("--fail-first", type=int, default=0, metavar="N", help="fail the first N requests")
    parser.add_argument("--fail-status", type=int, default=503, help="with this status")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="KIND=P",
        help=f"a fault and its probability, such as 429=0.1; kinds: {', '.join(Fault)}",
    )  # fmt: skip
    args = parser.parse_args()
    fake = FakeEndpoint(
        port=args.port,
        latency_s=args.latency,
        jitter_s=args.jitter,
        seed=args.seed,
        faults={Fault(kind): float(share) for kind, _, share in (given.partition("=") for given in args.fault)},
        slots=args.slots,
        rpm=args.rpm,
        tpm=args.tpm,
        rate_headers=args.rate_headers,
        outages=[(float(at), float(length)) for at, _, length in (given.partition(":") for given in args.outage)],
        retry_after=None if args.retry_after == "none" else args.retry_after,
        api_key=args.api_key,
        models=tuple(args.model) if args.model else None,
        keep_bodies=False,
    )
    fake.fail_next(Status(args.fail_status), times=args.fail_first)
    with fake:
        print(f"{fake.base_url}  (counters: {fake.base_url.removesuffix('/v1')}/fake/counts; end with Ctrl-C)")  # noqa: T201
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(json.dumps(dict(fake.counts)))  # noqa: T201
