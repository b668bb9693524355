"""Rejections by an endpoint: counts whether they concern one request or all requests of a stage."""

from __future__ import annotations

import re
from collections import Counter

from lvqa_ray.errors import EndpointRejects, StopRun
from lvqa_ray.llm.ratelimit.outcome import ABOUT_ONE_REQUEST, RequestOutcome

FORBIDDEN_IN_A_ROW = 10
"""Number of forbidden requests in a row after which a key that has worked is taken as revoked."""
VOUCHED = 10
"""Factor on the allowed rejections of a stage whose earlier answers are in the journal."""
_VARYING = re.compile(r"request[ _-]?id\W{0,4}[\w.-]+|[\w.-]*[0-9][\w.-]*", re.IGNORECASE)
"""What differs between two messages for the same reason: numbers, sizes, request and trace ids."""


class Rejections:
    """Counts equal rejections until the endpoint has answered; from then on they concern single requests.

    Each stage counts for itself, since an endpoint may answer one stage and reject all of another, which has its own
    settings. Answers of earlier runs prove less than a fresh one, since settings and servers change.

    Args:
        most: Allowed rejections for the same reason before the first answer; ``None`` for no limit.

    Attributes:
        proven: Stages that the endpoint has answered.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._alike: Counter[str] = Counter()
        self._forbidden = 0  # in a row
        self._works = False
        self.proven: frozenset[str] = frozenset()

    def note(self, done: RequestOutcome) -> StopRun | None:
        """Count an outcome; returns the reason to stop, if it is one."""
        if done.failed is None:
            self._forbidden = 0
        if done.failed is None or done.paid:
            self.proven |= {done.stage}
        self._works = self._works or bool(self.proven) or done.proven
        if done.stop is not None:
            return None if self._is_about_one_request(done.stop) else done.stop
        if not done.rejected or done.stage in self.proven:
            return None
        alike = f"{done.stage} {_VARYING.sub('0', done.rejected)}"
        self._alike[alike] += 1
        if self._most is None or self._alike[alike] < self._most * (VOUCHED if done.proven else 1):
            return None
        return EndpointRejects(
            f"The endpoint has rejected {self._alike[alike]} requests for the same reason and has answered none of "
            f"{f'the stage {done.stage}' if self._works and done.stage else 'them'}: "
            f"{done.rejected} Correct the endpoint's settings and start the run again; max_rejections sets this limit."
        )

    def _is_about_one_request(self, stop: StopRun) -> bool:
        """Whether the endpoint forbids one request while its key works; several in a row mean a bad key."""
        if stop.status not in ABOUT_ONE_REQUEST or not self._works:
            return False
        self._forbidden += 1
        return self._forbidden < FORBIDDEN_IN_A_ROW
