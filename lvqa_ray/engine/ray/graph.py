"""Ray Data plan of one pass over the videos."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Datasink

from lvqa_ray.config import Job
from lvqa_ray.config.places import download_cache, output_path
from lvqa_ray.engine.clip_uploads import clip_uploader
from lvqa_ray.engine.decoding.supervisor import DecodeLimits
from lvqa_ray.engine.ray.chat_actor import ChatActor, VideoChatActor
from lvqa_ray.engine.ray.clip_assembler import ClipAssembler
from lvqa_ray.engine.ray.clips_per_task import MOST_TOGETHER, clip_bundles, spread
from lvqa_ray.engine.ray.decode_task import decode_task
from lvqa_ray.engine.ray.endpoints import Lines
from lvqa_ray.engine.ray.part_joiner import PartJoiner
from lvqa_ray.engine.ray.result_index import known, look_up
from lvqa_ray.engine.ray.session import cluster
from lvqa_ray.engine.result_cache import NoCache, PaidCaptions, PaidFrames, ResultCache, asked_by
from lvqa_ray.engine.row_codec import batch_by_time, pack, table
from lvqa_ray.journal.clip_files import ClipFileIndex
from lvqa_ray.journal.found_clips import ClipIndex
from lvqa_ray.pipeline import FrameScoring, Group, Pipeline, Work, build
from lvqa_ray.records import Video
from lvqa_ray.stage import Role
from lvqa_ray.stage.steps import ChatStep, VideoStep

VIDEOS_PER_BLOCK = 1000
BLOCKS_OF_DRIVER = 64
CALLS_OF_A_WORKER = 256
"""Requests in flight that one chat worker process handles."""
CALLS_A_PLACE = 2
"""Concurrent rows per allowed request: rows that wait for a retry or for a write to a store must not keep requests
from being sent. The rate limiter bounds the requests."""


def run_pass(
    job: Job, videos: Sequence[Video], sink: Datasink[str], lines: Lines, run_id: str, *, in_parts: bool = False
) -> None:
    """Run the whole pipeline on videos and write the tables.

    A block holds one bundle, which is one row unless rows come fast: a slow call then delays little more than itself,
    and the endpoint gets as many requests as it takes.

    Args:
        job: The job.
        videos: The videos to process.
        sink: Writes the rows.
        lines: The endpoints of every role.
        run_id: Id of the run.
        in_parts: Divide long videos where that is worth it. A video whose parts do not fit together has no outcome, and
            needs a pass without division.
    """
    configure()
    media = clip_uploader(job)
    pipeline = build(job, media.folder, spread(job, len(videos)) if in_parts else None)
    rate_limiters = tuple(dict.fromkeys(tuple(line.rate_limiter for line in role) for role in lines.values()))
    journal = output_path(job) / "cache"
    # Ray Data fuses neighbouring operators with equal resources; one core would then do all the work of a video.
    cpus = job.engine.video_cpus
    bounds, scratch = DecodeLimits.of(job.engine), download_cache(job)
    split_cpus = 0.9 * cpus if job.split.mode == "scenes" else 0.25 * cpus
    decoding: dict[str, Any] = {"max_retries": 2}
    if job.engine.video_memory_gb:
        decoding["memory"] = round(job.engine.video_memory_gb * 2**30)
    caption = pipeline.caption[0]
    looks = [group for group in pipeline.ask if isinstance(group, FrameScoring)]
    stages = [caption.stage.name, *(stage.name for look in looks for stage in asked_by(look))]
    looked_up = look_up(journal, stages, None if job.cut.mode == "off" else media.target)
    media = replace(media, files=ClipFileIndex(journal, run_id, lambda: known(looked_up).files))
    found = ClipIndex(journal, pipeline.recipe, run_id, lambda: known(looked_up).clips, pipeline.beside)
    paid = PaidCaptions(
        journal,
        caption,
        job.endpoints.of(caption.role),
        ask_again=job.engine.retry_failures,
        expected=partial(media.expected, predict=pipeline.expected),
        index=lambda: known(looked_up).answers[caption.stage.name],
    )
    as_decoded = partial(batch_by_time, most=MOST_TOGETHER)
    bundled = clip_bundles(job, len(videos))
    on_files = partial(decode_task, rate_limiters=rate_limiters, bounds=bounds, scratch=scratch, media=media)

    def through(rows: ray.data.Dataset, group: Group, cache: ResultCache) -> ray.data.Dataset:
        if isinstance(group[0], VideoStep):
            return rows.flat_map(
                partial(on_files, steps=group, cache=cache, bundled=as_decoded), num_cpus=cpus, **decoding
            )
        pool = _pool(job, max(_in_flight(job, role) for role in _roles(group)))
        work = (group, lines, journal, run_id, pool.max_concurrent_calls_per_actor)
        return rows.flat_map(ChatActor, fn_constructor_args=work, compute=pool, num_cpus=0)

    rows = _one_a_block(videos)
    for group in pipeline.hear:
        rows = through(rows, group, found)
    rows = rows.flat_map(
        partial(on_files, steps=pipeline.split, cache=found, bundled=bundled),
        num_cpus=split_cpus,
        **decoding,
    )
    if pipeline.parts:
        rows = through(rows, pipeline.parts.look, NoCache()).flat_map(
            PartJoiner,
            fn_constructor_args=(pipeline.parts.joining, found),
            compute=ActorPoolStrategy(size=1),
            num_cpus=0,
        )
    rows = rows.flat_map(
        partial(on_files, steps=pipeline.look, cache=paid, bundled=as_decoded), num_cpus=cpus, **decoding
    )
    if ask := _asked_by_one_process(job, pipeline):
        pool = _pool(job, _in_flight_of_all(job, [*pipeline.caption, *ask]))
        rows = rows.flat_map(
            VideoChatActor,
            fn_constructor_args=(lines, journal, run_id, pool.max_concurrent_calls_per_actor),
            fn_constructor_kwargs={"caption": pipeline.caption, "merge": pipeline.merge, "ask": ask},
            compute=pool,
            num_cpus=0,
        )
    else:
        rows = through(rows, pipeline.caption, NoCache()).flat_map(
            ClipAssembler,
            fn_constructor_args=(pipeline.merge,),
            compute=ActorPoolStrategy(size=1),
            num_cpus=0,
        )
        for asking in pipeline.ask:
            if isinstance(asking, FrameScoring):
                rows = through(rows, asking.steps, PaidFrames(journal, asking, job, lambda: known(looked_up).answers))
            else:
                rows = through(rows, asking, NoCache())
    rows.write_datasink(sink, ray_remote_args={"num_cpus": 0})


def _one_a_block(videos: Sequence[Video]) -> ray.data.Dataset:
    """The videos, one per block; the driver makes the blocks of a few videos, which saves two rounds of tasks."""
    if len(videos) <= BLOCKS_OF_DRIVER:
        return ray.data.from_items([pack(video) for video in videos], override_num_blocks=len(videos))
    blocks = [table(videos[start : start + VIDEOS_PER_BLOCK]) for start in range(0, len(videos), VIDEOS_PER_BLOCK)]
    return ray.data.from_arrow(blocks).repartition(target_num_rows_per_block=1)


def configure() -> None:
    """Configure Ray Data's context for blocks of one row.

    The executor polls its tasks ten times a second. With the default output buffer of 2 blocks per task, the clips of a
    video leave its task at 11 per second (measured on Ray 2.60; with this setting, at over 100). There is no public
    setting for it.
    """
    context = DataContext.get_current()
    context.target_max_block_size = 1
    context._max_num_blocks_in_streaming_gen_buffer = 32
    context.enable_progress_bars = False
    context.memory_usage_poll_interval_s = None  # it costs a thread per running row, for unused figures
    if ray.__version__ in cluster.CHECKED_RELEASES:
        # Not its own class: the context goes to every worker, which would import all detectors for it.
        detectors: Any = SimpleNamespace(detectors=[])
        context.issue_detectors_config = detectors
    else:  # another release may read more of it
        context.issue_detectors_config.detectors = []
    # Rows that are lost with a dying worker have no outcome; the next pass processes their videos again.
    context.max_errored_blocks = -1
    # `max_retries` stops endless retries of a file that crashes the worker; it can be set nowhere else yet.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")


def _asked_by_one_process(job: Job, pipeline: Pipeline) -> Work | None:
    """The chat steps for videos, if a single process can send all requests of the pipeline; else ``None``.

    It can if no step in between reads a file and few requests may be in flight. Each further process takes about two
    CPU seconds to start (measured on Ray 2.60), more than a short video does.
    """
    ask, *others = pipeline.ask
    if job.engine.chat_workers or others or isinstance(ask, FrameScoring):
        return None
    return ask if _in_flight_of_all(job, [*pipeline.caption, *ask]) <= CALLS_OF_A_WORKER else None


def _in_flight_of_all(job: Job, steps: Group) -> int:
    """Maximum requests in flight of all steps together."""
    return sum(_in_flight(job, role) for role in _roles(steps))


def _in_flight(job: Job, role: Role) -> int:
    return sum(at.max_concurrency for at in job.endpoints.endpoints_of(role))


def _roles(steps: Group) -> set[Role]:
    return {role for step in steps if isinstance(step, ChatStep) for role in step.roles}


def _pool(job: Job, most: int) -> ActorPoolStrategy:
    """Actor pool whose workers together can have ``most`` requests in flight."""
    largest = job.engine.chat_workers or math.ceil(most / CALLS_OF_A_WORKER)
    return chat_pool(job.engine.chat_workers or 1, largest, math.ceil(most / largest))


def chat_pool(smallest: int, largest: int, most: int) -> ActorPoolStrategy:
    """Actor pool of chat workers.

    Args:
        smallest: Minimum number of workers.
        largest: Maximum number of workers.
        most: Maximum number of requests that one worker has in flight.
    """
    calls = CALLS_A_PLACE * most
    return ActorPoolStrategy(
        min_size=smallest,
        max_size=largest,
        max_concurrent_calls_per_actor=calls,
        max_tasks_in_flight_per_actor=2 * calls,
        enable_true_multi_threading=True,  # the calls only wait for the event loop of the actor
    )
