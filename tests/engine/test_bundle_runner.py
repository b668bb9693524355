"""Rows of a bundle run at the same time, and a slow one holds no other up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from lvqa_ray.engine import bundle_runner
from lvqa_ray.engine.bundle_runner import BundleRunner
from lvqa_ray.engine.row_codec import Packed, pack, unpack
from lvqa_ray.records import Row, Video

MEMORY = """
import os, threading
import pyarrow as pa
from lvqa_ray.engine.bundle_runner import BundleRunner
from lvqa_ray.engine.row_codec import pack

async def work(row):
    return [bytes(30_000)]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def call():
    for made in runner.run(pack("row")):
        pa.table({name: pa.array([rows], pa.binary()) for name, rows in made.items()})  # as Ray Data makes blocks
    done.wait()
    done.wait()

runner, done = BundleRunner(work, 128), threading.Barrier(129)
begun = resident()
for _ in range(128):
    threading.Thread(target=call, daemon=True).start()
done.wait()
print(resident() - begun)
"""


def videos(*numbers: int) -> list[Video]:
    return [Video(id=str(number), uri=f"{number}.mp4", fingerprint="") for number in numbers]


def ids(packed: Packed) -> list[str]:
    return [row.id for row in unpack(packed)]


async def twice(row: Row) -> Sequence[Row]:
    await asyncio.sleep(0.01)
    return [row, row]


def test_fast_rows_leave_in_one_bundle() -> None:
    runner = BundleRunner(twice, 100)
    (made,) = runner.run(pack(*videos(1, 2, 3)))
    assert sorted(ids(made)) == ["1", "1", "2", "2", "3", "3"]
    assert list(runner.run(pack())) == []


def test_a_slow_row_holds_no_other_up() -> None:
    left = threading.Event()

    async def work(row: Row) -> Sequence[Row]:
        if isinstance(row, Video) and row.id == "0":
            await asyncio.to_thread(left.wait, 60)
        return [row]

    made = BundleRunner(work, 100).run(pack(*videos(*range(32))))
    assert sorted(ids(next(made)), key=int) == [str(number) for number in range(1, 32)]
    left.set()
    assert list(map(ids, made)) == [["0"]]


def test_few_rows_wait_for_others_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_runner, "OUTPUT_WITHIN_S", 1.5)
    last = threading.Event()

    async def work(row: Row) -> Sequence[Row]:
        if isinstance(row, Video) and row.id != "0":
            await asyncio.to_thread(last.wait, 60)
        return [row]

    runner, begun = BundleRunner(work, 100), time.monotonic()
    made = runner.run(pack(*videos(*range(8))))
    assert ids(next(made)) == ["0"]
    assert time.monotonic() - begun > 1.5 - bundle_runner.OUTPUT_POLL_S
    last.set()
    assert len(ids(next(made))) == 7


def test_many_bundles_run_at_once_and_no_more_rows_than_allowed() -> None:
    at_work: set[str] = set()
    most = 0

    async def work(row: Row) -> Sequence[Row]:
        nonlocal most
        assert isinstance(row, Video)
        at_work.add(row.id)
        most = max(most, len(at_work))
        await asyncio.sleep(0.05)
        at_work.remove(row.id)
        return [row]

    runner = BundleRunner(work, 10)
    bundles = [pack(*videos(*range(start, start + 4))) for start in range(0, 40, 4)]
    with ThreadPoolExecutor(len(bundles)) as threads:
        made = list(chain.from_iterable(threads.map(lambda packed: list(runner.run(packed)), bundles)))
    assert sorted(int(number) for packed in made for number in ids(packed)) == list(range(40))
    assert most == 10
    assert len(made) <= 2 * len(bundles)


def test_an_exception_comes_after_the_results_of_the_other_rows() -> None:
    async def work(row: Row) -> Sequence[Row]:
        if isinstance(row, Video) and row.id == "1":
            raise ValueError("a defect")
        return [row]

    made = BundleRunner(work, 2).run(pack(*videos(0, 1, 2, 3, 4, 5)))
    assert sorted(ids(next(made))) == ["0", "2", "3", "4", "5"]
    with pytest.raises(ValueError, match="a defect"):
        next(made)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_the_many_threads_that_call_hold_little_memory() -> None:
    told = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True).stdout
    assert int(told) / 128 < 800_000, "bytes per thread; Arrow's own allocator keeps 1,080,000, malloc 470,000"
