"""Probes many videos in parallel. Remote files are read by range requests, and downloaded only without those."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue

from lvqa_ray.config import Job
from lvqa_ray.config.places import download_cache
from lvqa_ray.engine.decoding.supervisor import DecodeLimits, DecodeProcess
from lvqa_ray.engine.row_codec import Packed, unpack
from lvqa_ray.errors import FetchError
from lvqa_ray.records import Failure, ProbedVideo, Video
from lvqa_ray.stage.steps import VideoStep
from lvqa_ray.storage.range_reader import probe_by_ranges
from lvqa_ray.storage.remote import is_remote


def probed(job: Job, videos: Sequence[Video]) -> list[ProbedVideo | Failure]:
    """Probe videos in decoder processes, one per core.

    Args:
        job: Gives the settings of the probe and the limits of decoding.
        videos: Local or remote videos.

    Returns:
        For each video, in order, its probed row or its failure.
    """
    many = min(len(videos), os.cpu_count() or 1)
    idle: SimpleQueue[DecodeProcess] = SimpleQueue()

    def probe(video: Video) -> ProbedVideo | Failure:
        decoder = idle.get()
        try:
            return _probed(job, video, decoder)
        finally:
            idle.put(decoder)

    with ExitStack() as stack:
        for _ in range(many):
            decoder = DecodeProcess(DecodeLimits.of(job.engine))
            stack.callback(decoder.close)
            idle.put(decoder)
        return list(stack.enter_context(ThreadPoolExecutor(max(1, many))).map(probe, videos))


def _probed(job: Job, video: Video, decoder: DecodeProcess) -> ProbedVideo | Failure:
    stage, scratch = job.probe, download_cache(job)
    if is_remote(video.uri):
        row = _row(
            decoder([VideoStep(stage.name, Video, partial(probe_by_ranges, stage.name, stage, scratch.access))], video)
        )
        if not (isinstance(row, Failure) and row.kind == "not_in_parts"):
            return row
    try:
        with scratch.local(video) as path:
            return _row(decoder([VideoStep(stage.name, Video, stage)], video, path))
    except FetchError as error:
        return Failure(video=video, stage=stage.name, kind=error.kind, message=str(error), retryable=error.retryable)


def _row(packed: Iterator[Packed]) -> ProbedVideo | Failure:
    (row,) = (row for bundle in packed for row in unpack(bundle))
    assert isinstance(row, ProbedVideo | Failure)  # noqa: S101 - the types that the stage gives
    return row
