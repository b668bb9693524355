"""An open file batch of this run or an earlier one, and the API keys that may belong to its account."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import SecretStr

from lvqa_ray.engine.batching.request_files import BatchLine, discarded
from lvqa_ray.errors import ApiError, AuthFailed, ConfigError, Forbidden, NotFound, RetryableError, StopRun
from lvqa_ray.journal.batch_log import BatchLog, LoggedBatch, batch_target, place_of
from lvqa_ray.llm.batches.batch_api import BatchApi, BatchState

LATE_S = 300.0
"""How late a request for a batch may arrive, if its file cannot be deleted (s)."""
EMPTY_POLLS = 10
"""How often a batch is asked for again that the endpoint does not show, or whose results it does not show."""
OTHER_KEY_POLLS = 3
"""As `EMPTY_POLLS`, for a batch that was created with the key of another variable."""
UNSENT = frozenset({"not_uploaded", "not_created"})
"""Ends of batches that never began."""
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OpenBatch:
    """A batch that has not ended.

    Attributes:
        line: The endpoint with the key that is tried now.
        logged: Its entry in the log.
        others: Lines of the same base URL and model with further keys, to try if this key does not see the batch.
        denials: How often the endpoint has not shown it.
    """

    line: BatchLine
    logged: LoggedBatch
    others: list[BatchLine] = field(default_factory=list)
    next_poll: float = 0.0
    shown: BatchState | None = None
    overdue_at: float = 0.0
    cancelled: bool = False
    empty: int = 0
    denials: int = 0

    @property
    def has_own_key(self) -> bool:
        """Whether the key is in the variable that the log names."""
        return place_of(self.line.endpoint) == self.logged.place

    def deny(self) -> str:
        """Note that the endpoint does not show the batch, and try the next key.

        Returns:
            Why to give up, with what the user can do; empty while another attempt may help.
        """
        self.denials += 1
        at, logged = self.line.endpoint, self.logged
        if self.denials == 1:
            logger.warning(
                "%s does not show the file batch %s to the key in %s", at.label, _name(logged), at.api_key_env
            )
        self.others.append(self.line)
        self.line = self.others.pop(0)
        known = any(place_of(line.endpoint) == logged.place for line in (self.line, *self.others))
        if self.denials < (1 + len(self.others)) * (EMPTY_POLLS if known else OTHER_KEY_POLLS):
            return ""
        tried = " or ".join(sorted({str(each.endpoint.api_key_env) for each in (self.line, *self.others)}))
        own = logged.endpoint.api_key_env
        maker = "" if own is None or tried == own else f" It was created with the key in {own}."
        return (
            f"{at.label} does not know the file batch {_name(logged)} any more, as the key in {tried} sees it.{maker} "
            f"Its {len(logged.entries)} requests may be paid for and are not sent again: restore the key that made it, "
            "or give the batch up with lvqa batches OUT --forget."
        )


def restore_open_batch(logged: LoggedBatch, lines: Sequence[BatchLine]) -> OpenBatch | None:
    """A batch of the log with the keys that may see it; ``None`` if the job does not use its endpoint and model.

    The key that created it comes first, even if the job names another variable now and the environment has both.

    Args:
        logged: The batch.
        lines: The endpoints of the job with file batches.
    """
    same = [line for line in lines if batch_target(line.endpoint) == logged.target]
    if not same:
        return None
    own = [line for line in same if place_of(line.endpoint) == logged.place]
    if not own and (key := _key_of(logged)) is not None:
        own = [BatchLine(logged.endpoint, BatchApi(logged.endpoint, key), same[0].queue)]
    first, *others = [*own, *(line for line in same if line not in own)]
    return OpenBatch(first, logged, others)


async def locate(batch: OpenBatch, log: BatchLog) -> tuple[str, str]:
    """Find a batch whose id was not logged; if there is none, see to it that there will be none.

    Only a key that sees the input file can tell that there is no batch: another account sees neither.

    Returns:
        Its id, empty if it has none; and how it ended: ``""`` (unknown), ``denied``, ``not_uploaded`` or
        ``not_created``. After ``denied`` the requests may be in a batch that this key does not see.

    Raises:
        ApiError: Nothing is known now.
    """
    logged, api = batch.logged, batch.line.api
    if not logged.file:  # without a file there was no request for a batch
        return "", "not_uploaded"
    if (found := await api.find(logged.tag, logged.file)) is not None:
        return found.id, ""
    print_ = api.key_print(logged.tag)
    if logged.seen != print_:  # what another key has seen says nothing about this one
        if not (logged.ours or await api.has_file(logged.file)):
            return "", "denied"
        batch.logged = logged = log.note(logged, seen=print_)  # a run that is killed after the deletion cannot see it
    # A request that is still on its way finds no file then.
    deleted = await discarded(batch.line, logged.file)
    if (found := await api.find(logged.tag, logged.file)) is not None:
        return found.id, ""
    return "", "not_created" if deleted or time.time() - logged.at >= LATE_S else ""


def is_hidden(error: ApiError) -> bool:
    """Whether an error may mean that this key does not see a batch; some servers say 400 to other accounts."""
    return isinstance(error, NotFound | AuthFailed | Forbidden) or not isinstance(error, RetryableError | StopRun)


async def id_now(batch: OpenBatch) -> str:
    """Id under which the endpoint lists a batch; empty if it does not, or has no list.

    Raises:
        ApiError: Nothing is known now.
    """
    try:
        found = await batch.line.api.find(batch.logged.tag, batch.logged.file)
    except ApiError as error:
        if not is_hidden(error):
            raise
        return ""
    return "" if found is None else found.id


def _name(logged: LoggedBatch) -> str:
    return logged.id or logged.tag


def _key_of(logged: LoggedBatch) -> SecretStr | None:
    """The key that the log names, if the environment has it."""
    with suppress(ConfigError):
        key = logged.endpoint.api_key()
        return key if key.get_secret_value() else None
    return None
