"""The pool of decoders of a service: a client that goes away never takes the decoder of another along."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from lvqa_ray.engine.decoding.pool import DecodePool
from lvqa_ray.records import Clip, Failure, ProbedVideo, Row, Video
from lvqa_ray.stage.steps import VideoStep
from lvqa_ray.stages.probe import ProbeVideo
from lvqa_ray.stages.split import SplitVideo
from tests import media
from tests.engine.test_decoding import BOUNDS

STEPS = [VideoStep("probe", Video, ProbeVideo()), VideoStep("split", ProbedVideo, SplitVideo(max_seconds=1.0))]
RUNS, SECONDS = 60, 12


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=SECONDS, fps=5)


@asynccontextmanager
async def pool(most: int) -> AsyncIterator[DecodePool]:
    made = DecodePool(BOUNDS, most)
    try:
        yield made
    finally:
        made.close()


async def clips(decoders: DecodePool, film: Path) -> list[Row]:
    video = Video(id="film", uri=str(film), fingerprint="f")
    async with aclosing(decoders.rows(STEPS, [video])) as rows:
        return [row async for row in rows]


def test_clients_that_leave_at_any_time_harm_no_other(film: Path) -> None:
    """They are interrupted at random moments, while others use the same two decoders."""
    rng = random.Random(3)  # noqa: S311 - reproducible

    async def leaves(decoders: DecodePool) -> None:
        task = asyncio.create_task(clips(decoders, film))
        await asyncio.sleep(rng.uniform(0, 0.05))
        task.cancel()
        await asyncio.wait([task])

    async def stays(decoders: DecodePool) -> list[Row]:
        return await clips(decoders, film)

    async def all_of_them() -> list[list[Row]]:
        async with pool(2) as decoders:
            await clips(decoders, film)
            leaving = [leaves(decoders) for _ in range(RUNS)]
            found = await asyncio.gather(*(stays(decoders) for _ in range(RUNS // 4)), *leaving)
            return [rows for rows in found if rows is not None]

    for rows in asyncio.run(all_of_them()):
        assert not [row for row in rows if isinstance(row, Failure)]
        assert sum(isinstance(row, Clip) for row in rows) == SECONDS


def test_an_interrupt_before_the_work_has_begun_is_not_lost(film: Path) -> None:
    async def at_once() -> list[Row]:
        async with pool(1) as decoders:
            await clips(decoders, film)
            (decoder,) = decoders._idle
            decoder.interrupt()
            made = list(decoder(STEPS, Video(id="film", uri=str(film), fingerprint="f")))
            assert decoder.pid is None, "the killed child is not kept"
            assert len(made) <= 1
            decoder.rearm()
            return await clips(decoders, film)

    assert sum(isinstance(row, Clip) for row in asyncio.run(at_once())) == SECONDS
