"""Files of requests at an endpoint: uploads them, deletes them, and leaves requests out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from lvqa_ray.errors import ApiError, BatchFailed, EndpointDown, NoCapacity, RateLimited, RetryableError, StopRun
from lvqa_ray.llm.batches.batch_api import BatchApi
from lvqa_ray.llm.batches.batch_queue import QueueClient, ReadyFile
from lvqa_ray.llm.endpoint import Endpoint

UPLOADS = 5
"""How often a file is sent, if the connection breaks."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchLine:
    """An endpoint with file batches: its client and its queue."""

    endpoint: Endpoint
    api: BatchApi
    queue: QueueClient


async def uploaded(line: BatchLine, file: ReadyFile, name: str) -> str:
    """Upload a file, again if the connection breaks; returns its id at the endpoint.

    Raises:
        ApiError: It was not accepted, or the connection broke each time.
    """
    for left in reversed(range(UPLOADS)):
        try:
            return await line.api.upload(file.path, name)
        except RetryableError:
            if not left:
                raise
            await asyncio.sleep(line.endpoint.backoff_base_s * 2.0 ** (UPLOADS - 1 - left))
    raise AssertionError


async def discarded(line: BatchLine, file: str) -> bool:
    """Delete a file; returns whether it is gone.

    Raises:
        RetryableError: Nothing is known now.
    """
    try:
        await line.api.delete(file)
    except RetryableError:
        raise
    except ApiError as error:  # some servers keep files in use, or all files
        logger.info("the file %s was not deleted (%s)", file, error)
        return False
    return True


def outage(error: RetryableError, down_s: float, most_s: float) -> ApiError:
    """The error of requests whose batch could not be made now.

    Args:
        error: The last error.
        down_s: How long no batch could be made (s).
        most_s: How long the job waits (s); a rate limit is waited for without an end.
    """
    if down_s <= most_s or isinstance(error, RateLimited):
        return NoCapacity(f"The file batch was not created: {error}")
    return EndpointDown(f"No file batch could be created for {down_s:.0f} s: {error} A later run goes on from here.")


def typed(error: ApiError) -> ApiError:
    """The error of each request of a file that was not accepted."""
    if isinstance(error, StopRun | NoCapacity):
        return error
    return BatchFailed(f"The file of the batch was not accepted: {error}")


def given_up(said: str) -> ApiError:
    """The error of requests whose batch is not asked for any more in this run."""
    return BatchFailed(said, status=400)  # no retry in this run


def without(file: ReadyFile, keys: set[str]) -> ReadyFile:
    """The file without some of its requests."""
    kept = [number for number, entry in enumerate(file.entries) if entry.key not in keys]
    lines = file.path.read_bytes().splitlines(keepends=True)
    file.path.write_bytes(b"".join(lines[number] for number in kept))
    return ReadyFile(file.path, tuple(file.entries[number] for number in kept))
