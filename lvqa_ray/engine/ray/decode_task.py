"""What runs inside Ray's CPU tasks: files into rows. Knows nothing of endpoints, so that a task loads no client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

import ray

from lvqa_ray.engine.clip_uploads import ClipUploader
from lvqa_ray.engine.decoding.supervisor import DecodeLimits, decoder
from lvqa_ray.engine.ray import Handle
from lvqa_ray.engine.ray.session.detach import worker_without_terminal
from lvqa_ray.engine.result_cache import ResultCache
from lvqa_ray.engine.row_codec import Bundling, Packed, batch_by_time, pack, unpack
from lvqa_ray.engine.step_runner import not_fetched, run_video_steps, video_of, without_images
from lvqa_ray.errors import FetchError
from lvqa_ray.records import Row
from lvqa_ray.stage.steps import VideoStep
from lvqa_ray.storage.download_cache import DownloadCache

HALT_POLL_S = 1.0
"""How often a process looks whether the run has halted."""
Governors = tuple[tuple[Handle, ...], ...]
"""Handles of the governors of each role."""


def decode_task(
    packed: Packed,
    *,
    steps: Sequence[VideoStep],
    memory: ResultCache,
    governors: Governors,
    bounds: DecodeLimits,
    scratch: DownloadCache,
    media: ClipUploader,
    most: int | Bundling,
) -> Iterator[Packed]:
    """Body of a task: put rows, mostly one, through a group of steps, in a process of its own.

    Args:
        packed: The rows.
        steps: The steps in order.
        memory: What earlier passes found out: what it knows is not done again.
        governors: Once all of one role have halted, nothing more is read.
        bounds: What decoding may take.
        scratch: Where remote files are put.
        media: Where cut clips are kept.
        most: How many rows may travel on together.

    Yields:
        The rows that the steps make of them, as they come; no more once the run has halted.
    """
    worker_without_terminal()
    work = partial(_worked, bounds=bounds, scratch=scratch, media=media)
    yield from batch_by_time(_remembered(packed, steps, memory, governors, work), most)


def _remembered(
    packed: Packed,
    steps: Sequence[VideoStep],
    memory: ResultCache,
    governors: Governors,
    work: Callable[[Row, Sequence[VideoStep]], Iterator[Packed]],
) -> Iterator[Packed]:
    def halted() -> bool:
        return _halted(governors, int(time.monotonic() / HALT_POLL_S))

    for row in unpack(packed):
        if halted():
            return
        known = memory.get(row)
        if known is not None:
            yield from map(pack, known)
            continue
        made: list[Row] = []
        for out in work(row, steps):
            yield out
            made += map(without_images, unpack(out))
            if halted():
                return
        memory.put(row, made)


@lru_cache(maxsize=1)
def _halted(governors: Governors, _: int) -> bool:
    """Whether all governors of a role have halted; all tasks of a process ask once in a while."""
    return any(all(ray.get([governor.halted.remote() for governor in role])) for role in governors)


def _worked(
    row: Row,
    steps: Sequence[VideoStep],
    *,
    bounds: DecodeLimits,
    scratch: DownloadCache,
    media: ClipUploader,
) -> Iterator[Packed]:
    if not any(isinstance(row, step.takes) and step.reads(row) for step in steps):
        yield from map(pack, run_video_steps(steps, row, lambda *_: None))  # nothing is decoded, so nothing can crash
        return
    video = video_of(row)
    try:
        with scratch.local(video) as path:
            yield from media.kept(decoder(bounds)(steps, row, path))
    except FetchError as error:
        yield pack(not_fetched(steps, row, error))
