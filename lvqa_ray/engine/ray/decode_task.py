"""Ray CPU task that decodes videos. It imports nothing of the endpoints, so that a task loads no client."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial

import ray

from lvqa_ray.engine.clip_uploads import ClipUploader
from lvqa_ray.engine.decoding.supervisor import DecodeLimits, decoder
from lvqa_ray.engine.ray.rate_limit_actor import RateLimiter
from lvqa_ray.engine.ray.session.detach import worker_without_terminal
from lvqa_ray.engine.result_cache import ResultCache
from lvqa_ray.engine.row_codec import Packed, pack, unpack
from lvqa_ray.engine.step_runner import not_fetched, run_video_steps, times_ahead, video_of, without_images
from lvqa_ray.errors import FetchError
from lvqa_ray.records import Row
from lvqa_ray.stage.steps import VideoStep
from lvqa_ray.storage.download_cache import DownloadCache

HALT_POLL_S = 1.0
"""How often a process checks whether the run has halted."""
RateLimiters = tuple[tuple[RateLimiter, ...], ...]
"""The rate limiters of each role."""


def decode_task(
    packed: Packed,
    *,
    steps: Sequence[VideoStep],
    cache: ResultCache,
    rate_limiters: RateLimiters,
    bounds: DecodeLimits,
    scratch: DownloadCache,
    media: ClipUploader,
    bundled: Callable[[Iterable[Packed]], Iterator[Packed]],
) -> Iterator[Packed]:
    """Body of a task: run a group of steps on rows, mostly one, in the decoder process.

    Args:
        packed: The rows.
        steps: The steps in order.
        cache: Results of earlier passes, which are not decoded again.
        rate_limiters: Decoding stops once all rate limiters of a role have halted.
        bounds: Limits of time and memory.
        scratch: The download cache of the node.
        media: Uploads cut clips.
        bundled: Joins the resulting rows into bundles.

    Yields:
        Bundles of the resulting rows.
    """
    worker_without_terminal()
    work = partial(_worked, bounds=bounds, scratch=scratch, media=media)
    yield from bundled(_cached(packed, steps, cache, rate_limiters, work))


def _cached(
    packed: Packed,
    steps: Sequence[VideoStep],
    cache: ResultCache,
    rate_limiters: RateLimiters,
    work: Callable[[Sequence[Row], Sequence[VideoStep]], Iterator[Packed]],
) -> Iterator[Packed]:
    def halted() -> bool:
        return _halted(rate_limiters, int(time.monotonic() / HALT_POLL_S))

    if halted():
        return
    rows = deque((row, cache.get(row)) for row in unpack(packed))
    while rows:
        if halted():
            return
        to_decode = [row for row, known in rows if known is None]
        row, known = rows.popleft()
        if known is not None:
            yield from map(pack, known)
            continue
        made: list[Row] = []
        for out in work(to_decode, steps):
            yield out
            made += map(without_images, unpack(out))
            if halted():
                return
        cache.put(row, made)


@lru_cache(maxsize=1)
def _halted(rate_limiters: RateLimiters, _: int) -> bool:
    """Whether all rate limiters of a role have halted; cached for all tasks of the process by the second argument."""
    return any(all(ray.get([rate_limiter.halted() for rate_limiter in role])) for role in rate_limiters)


def _worked(
    rows: Sequence[Row],
    steps: Sequence[VideoStep],
    *,
    bounds: DecodeLimits,
    scratch: DownloadCache,
    media: ClipUploader,
) -> Iterator[Packed]:
    """Run the steps on the first of some rows; the others are processed next."""
    row = rows[0]
    if not any(isinstance(row, step.takes) and step.reads(row) for step in steps):
        yield from map(pack, run_video_steps(steps, row, lambda *_: None))  # nothing is decoded, so nothing can crash
        return
    video = video_of(row)
    try:
        with scratch.local(video) as path:
            yield from media.upload(decoder(bounds)(steps, row, path, times_ahead(steps, rows)))
    except FetchError as error:
        yield pack(not_fetched(steps, row, error))
