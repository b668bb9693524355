"""What runs inside Ray's CPU tasks: files into rows. Knows nothing of endpoints, so that a task loads no client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import ray

from lvqa_ray.engine.decoder import Bounds, decoder
from lvqa_ray.engine.rows import Packed, pack, unpack
from lvqa_ray.engine.scratch import Scratch
from lvqa_ray.engine.steps import failed, video_of
from lvqa_ray.errors import FetchError
from lvqa_ray.pipeline import VideoStep
from lvqa_ray.records import Failure


def work_on_files(
    packed: Packed, *, steps: Sequence[VideoStep], governors: Sequence[Sequence[Any]], bounds: Bounds, scratch: Scratch
) -> Iterator[Packed]:
    """Body of a task: put one row through a group of steps, in a process of its own.

    Args:
        packed: The row.
        steps: The steps in order.
        governors: Handles of the governors of each role: once all of one have halted, no more videos are read.
        bounds: What decoding may take.
        scratch: Where remote files are put.

    Yields:
        The rows that the steps make of it, as they come; none once the run has halted.
    """
    if any(all(ray.get([governor.halted.remote() for governor in role])) for role in governors):
        return
    row = unpack(packed)
    if not any(isinstance(row, step.takes) and step.reads(row) for step in steps):
        yield from decoder(bounds)(steps, row)
        return
    video = video_of(row)
    try:
        with scratch.local(video) as path:
            yield from decoder(bounds)(steps, row, path)
    except FetchError as error:
        name = next(step.name for step in steps if isinstance(row, step.takes))
        failure = Failure(video=video, stage=name, kind=error.kind, message=str(error), retryable=error.retryable)
        yield pack(failed(row, failure))
