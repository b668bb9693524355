"""Parser of the output file and the error file of a batch."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from lvqa_ray.errors import ApiError, BatchFailed, MalformedReply, NoCapacity
from lvqa_ray.llm.batches.batch_api import BatchApi, BatchState
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.llm.transport import error_mapping
from lvqa_ray.llm.transport.error_body import quote_of

Result = ChatReply | ApiError
UNDONE = ("batch_expired", "batch_cancelled")
"""Codes of requests that were not processed before their batch ended; they are not charged."""
CROWDED = "token_limit_exceeded"
"""OpenAI fails a batch with this code if too many tokens of other batches wait already."""
logger = logging.getLogger(__name__)


def results_of(api: BatchApi, state: BatchState, files: Iterable[bytes], keys: Collection[str]) -> dict[str, Result]:
    """The result of each request of an ended batch.

    The rows may come in any order. The first answer to a request counts; a second one, and one for a request that is
    not in the batch, is reported in the log.

    Args:
        api: The endpoint, which reads the replies.
        state: The ended batch.
        files: Contents of its output file and its error file.
        keys: The custom ids of its requests, in the order of its file.
    """
    found: dict[str, Result] = {}
    wanted = set(keys)
    for row in _rows(state, files):
        key = row.get("custom_id")
        if not isinstance(key, str) or key not in wanted:
            logger.warning("batch %s has a result for an unknown request", state.id)
        elif isinstance(found.get(key), ChatReply):
            logger.warning("batch %s has two results for the request %s; the first one counts", state.id, key)
        else:
            found[key] = _result(api, row)
    return {key: found.get(key) or _missing(state, number) for number, key in enumerate(keys, start=1)}


def _rows(state: BatchState, files: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    for content in files:
        for line in content.splitlines():
            try:
                row = json.loads(line) if line.strip() else None
            except ValueError:
                logger.warning("batch %s has a result that is not JSON", state.id)
                continue
            if isinstance(row, Mapping):
                yield row


def _result(api: BatchApi, row: Mapping[str, Any]) -> Result:
    """The reply or the error of a row."""
    response, error = row.get("response"), row.get("error")
    if isinstance(response, Mapping):
        status, body = response.get("status_code"), response.get("body")
        if not isinstance(status, int) or status < 400:
            try:
                return api.reply(body)
            except ApiError as caught:
                return caught.with_traceback(None)
        return api.error(status, body)
    if isinstance(error, Mapping):
        kind = error_mapping.class_of(None, error, default=BatchFailed, tier="batch")
        return api.fault(NoCapacity if error.get("code") in UNDONE else kind, quote_of(error))
    return MalformedReply("The result in a batch's file has neither a response nor an error.")


def _missing(state: BatchState, number: int) -> ApiError:
    """The error of a request without a result, which was not charged as far as is known.

    Args:
        state: The ended batch.
        number: Line of the request in the file, from 1.
    """
    if state.status in {"expired", "cancelled"}:
        return NoCapacity(f"The file batch {state.id} is {state.status}, and has not processed the request.")
    if any(CROWDED in said for said, _ in state.faults):
        return NoCapacity(f"The file batch {state.id} found too many others waiting: {state.faults[0][0]}")
    lines = {line: said for said, line in state.faults if line is not None}
    if number in lines:
        said = f"The file batch {state.id} failed its validation at line {number}: {lines[number]}"
        return BatchFailed(said, status=400)  # the status of the same request outside a batch: no retry in this run
    if state.status == "failed" and not lines:
        said = state.faults[0][0] if state.faults else "no reason is given"
        return BatchFailed(f"The file batch {state.id} failed: {said}")
    if state.status == "failed":  # because of other lines: this request may be sent again as it is
        return NoCapacity(f"The file batch {state.id} failed because of another request.")
    return BatchFailed(f"The result file of the batch {state.id} lacks the request.")
