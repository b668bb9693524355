"""Throughput of the chat client against the fake endpoint: ``python benchmarks/api.py [--quick] [SECTION ...]``.

Each measurement runs in its own process, with its own endpoint in another process; they share the machine's cores.
"Plain" is an asyncio loop over the same SDK and transport, with one task per request in flight and nothing else; "raw"
is bare aiohttp, which shows the capacity of the endpoint itself. CPU is that of the client's process. "Ours" is the
whole path of a chat worker: journal, retries, leases from the rate-limiter actor on Ray, and HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]
RESULTS = Path(__file__).parent / "results" / "api.md"
MIX = ("429=0.1", "500=0.05", "hang=0.02", "cut_off=0.02", "malformed=0.05")
HANG_S = 2.0
LEAST_CPU_S = 0.3
"""Processes that used less are not listed."""


def measure(method: str, count: int, *, server: Sequence[str] = (), **options: object) -> Row:
    """Run a method in a new process against a new endpoint."""
    with endpoint(*server) as url:
        command = [sys.executable, str(ROOT / "benchmarks" / "asking.py"), method, "--url", url, "--count", str(count)]
        for name, value in options.items():
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        found = subprocess.run(command, check=False, capture_output=True, text=True, env=_environment())
        if found.returncode:
            raise SystemExit(f"{method}: {found.stderr[-3000:]}")
        row: Row = json.loads(found.stdout.splitlines()[-1])
        with urllib.request.urlopen(url.removesuffix("/v1") + "/fake/counts") as reply:  # noqa: S310 - our own
            row |= {"server": json.load(reply)}
    print(f"  {method} {count} {options} {list(server)}: {row}", file=sys.stderr, flush=True)
    return row


@contextmanager
def endpoint(*options: str) -> Iterator[str]:
    command = [sys.executable, "-u", "-m", "tests.fakes.endpoint", "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            found = re.match(r"\S+", said)
            if not found:
                raise SystemExit("the endpoint does not start")
            yield found.group()
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "RAY_BACKEND_LOG_LEVEL": "fatal"}


def throughput(quick: bool) -> list[str]:
    count, few = (1500, 300) if quick else (12_000, 1500)
    server = ("--latency", "0.1")
    rows = {
        "raw aiohttp: what the endpoint serves": measure("raw", count, server=server, cap=256),
        "plain asyncio loop over the SDK": measure("plain", count, server=server, cap=256),
        "ours, 1 worker": measure("ours", count, server=server, cap=256),
        "ours behind Ray Data, 1 worker": measure("ours_data", count, server=server, cap=256),
        "Ray's HttpRequestProcessor, 1 actor": measure("rays", few, server=server),
    }
    reference = _rate(rows["plain asyncio loop over the SDK"])
    lines = _head(
        "100 ms latency, 256 in flight", "requests/s", "of plain", "CPU ms a request", "rate limiter's", "failed"
    )
    for name, row in rows.items():
        lines.append(
            _line(name, f"{_rate(row):.0f}", f"{_rate(row) / reference:.2f}", _ms(row, "cpu_s"),
                  _ms(row, "rate_limiter_cpu_s"), row["failed"])
        )  # fmt: skip
    return lines


def ray_data(quick: bool) -> list[str]:
    """The client alone and behind Ray Data, in turn; the median of each."""
    count, repeats = (1500, 1) if quick else (6000, 3)
    ways: dict[str, tuple[str, Row]] = {
        "the client alone": ("ours", {}),
        "behind Ray Data, 1 worker": ("ours_data", {}),
        "behind Ray Data, 2 workers": ("ours_data", {"actors": 2}),
    }
    found: dict[str, list[Row]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (method, options) in ways.items():
            found[name].append(measure(method, count, server=("--latency", "0.1"), cap=256, **options))
    reference = statistics.median(map(_rate, found["the client alone"]))
    lines = _head(
        f"{count} requests of 100 ms, 256 in flight, {repeats} times in turn", "requests/s", "of the client alone",
        "requests/s with the start of Ray Data", "most in flight", "CPU s of its processes", "failed",
    )  # fmt: skip
    for name, rows in found.items():
        middle = statistics.median(map(_rate, rows))
        row = min(rows, key=lambda each: abs(_rate(each) - middle))
        whole = f"{count / row['seconds']:.0f}" if "blocks" in row else ""
        spent = row.get("cpu_s_of_processes", {"the client": round(row.get("cpu_s", 0.0), 1)})
        busy = ", ".join(f"{title} {cpu_s:.1f}" for title, cpu_s in spent.items() if cpu_s >= LEAST_CPU_S)
        in_flight, failed = row["server"]["most_in_flight"], sum(each["failed"] for each in rows)
        lines.append(_line(name, f"{middle:.0f}", f"{middle / reference:.2f}", whole, in_flight, busy, failed))
    return lines


def by_the_minute(quick: bool) -> list[str]:
    count = 604 if quick else 1804
    row = measure("ours", count, server=("--latency", "0.1", "--rpm", "600"), cap=64, actors=4, rpm=600)
    server = row["server"]
    used = count // 600 * 600 / (10 * server["seconds"])  # whole windows, up to the first request of the last one
    return [
        *_head("600 requests a minute, 4 workers", "asked", "most in any 60 s", "429", "used", "failed"),
        _line("ours", count, server["most_in_60_s"], server["counts"].get("429", 0), f"{used:.1%}", row["failed"]),
    ]


def faults(quick: bool) -> list[str]:
    count = 1500 if quick else 12_000
    server = ("--latency", "0.1", "--retry-after", "none", *(f"--fault={fault}" for fault in MIX))
    options: Row = {"server": server, "cap": 64, "timeout": HANG_S, "again": True}
    rows = {
        "plain, asking again at once": measure("plain", count, **options),
        "ours": measure("ours", count, **options),
    }
    reference = rows["plain, asking again at once"]["seconds"]
    lines = _head(f"Faults: {', '.join(MIX)}", "seconds", "of plain", "asked", "no answer", "most answers to one")
    for name, row in rows.items():
        counts = row["server"]
        lines.append(
            _line(name, f"{row['seconds']:.1f}", f"{row['seconds'] / reference:.2f}", counts["asked"],
                  row["failed"], counts["most_paid_for_one_body"])
        )  # fmt: skip
    return lines


def outage(quick: bool) -> list[str]:
    length = 10 if quick else 60
    count = 1500 if quick else 3000
    row = measure("ours", count, server=("--latency", "0.1", "--outage", f"3:{length}"), cap=32)
    server = row["server"]
    return [
        *_head(f"An outage of {length} s after 3 s", "seconds", "failed", "asked in vain", "most answers to one"),
        _line("ours", f"{row['seconds']:.1f}", row["failed"], server["counts"].get("down", 0),
              server["most_paid_for_one_body"]),
    ]  # fmt: skip


def pictures(quick: bool) -> list[str]:
    count = 200 if quick else 1000
    lines = _head(
        "1 MB of pictures in each, at most 32 in flight",
        "most in flight",
        "CPU ms a request",
        "MB a request in flight",
        "failed",
    )
    row = measure("ours", count, server=("--latency", "0.1"), cap=32, megabytes=1)
    lines.append(
        _line(
            "ours",
            row["server"]["most_in_flight"],
            _ms(row, "cpu_s"),
            f"{row['grown_mb'] / row['server']['most_in_flight']:.1f}",
            row["failed"],
        )
    )
    return lines


def transports(quick: bool) -> list[str]:
    count = 200 if quick else 2000
    lines = _head("One request, 32 in flight", "CPU ms, a line of text", "CPU ms, 0.4 MB of pictures", "failed")
    for name, method in (("openai: chat.completions.create", "sdk"), ("our transport, on its HTTP client", "wire")):
        rows = [measure(method, count, cap=32, megabytes=size) for size in (0.0, 0.4)]
        lines.append(_line(name, *(_ms(row, "cpu_s") for row in rows), sum(row["failed"] for row in rows)))
    return lines


SECTIONS = {
    "throughput": throughput,
    "ray_data": ray_data,
    "minute": by_the_minute,
    "faults": faults,
    "outage": outage,
    "pictures": pictures,
    "transports": transports,
}


def _rate(row: Row) -> float:
    answered: int = row["server"]["answers_paid"]
    seconds: float = row["server"]["seconds"]  # from the first request to the last: without imports and Ray's start
    return answered / seconds


def _ms(row: Row, what: str) -> str:
    return f"{1000 * row[what] / row['server']['answers_paid']:.2f}" if what in row else ""


def _head(title: str, *columns: str) -> list[str]:
    return ["", f"### {title}", "", _line("", *columns), "|" + "---|" * (len(columns) + 1)]


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="few requests: shows that it works, and writes nothing")
    given = parser.parse_args()
    lines = [line for name in given.sections or SECTIONS for line in SECTIONS[name](given.quick)]
    print("\n".join(lines))
    if not given.quick and not given.sections:
        about = " ".join((__doc__ or "").split("\n\n")[1].split())
        text = "\n".join(["# The API engine", "", about, "", "`python benchmarks/api.py`:", *lines, ""])
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
