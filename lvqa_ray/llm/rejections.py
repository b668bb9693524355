"""Rejections by an endpoint: whether they are about one request, or about all that will ever be sent."""

from __future__ import annotations

import re
from collections import Counter

from lvqa_ray.errors import EndpointRejects, StopRun
from lvqa_ray.llm.outcome import ABOUT_ONE_REQUEST, Done

FORBIDDEN_IN_A_ROW = 10
"""So many requests forbidden with no answer in between mean that the key, which has worked, works no more."""
_DIGITS = re.compile(r"[0-9]+")
"""What differs between two rejections for the same reason."""


class Rejections:
    """Counts rejections until the endpoint has answered; from then on they are about single requests.

    Args:
        most: How many an endpoint that has never answered may give for the same reason; ``None`` for no limit.

    Attributes:
        proven: Whether the endpoint has ever answered a request.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._alike: Counter[str] = Counter()
        self._forbidden = 0  # in a row
        self.proven = False

    def note(self, done: Done) -> StopRun | None:
        """Take in an outcome; gives the reason to stop, if it is one."""
        if done.failed is None:
            self._forbidden = 0
        self.proven = self.proven or done.failed is None or done.paid or done.proven
        if done.stop is not None:
            return None if self._is_about_one_request(done.stop) else done.stop
        if not done.rejected or self.proven:
            return None
        alike = _DIGITS.sub("0", done.rejected)
        self._alike[alike] += 1
        if self._most is None or self._alike[alike] < self._most:
            return None
        return EndpointRejects(
            f"The endpoint has rejected {self._alike[alike]} requests for the same reason and has answered none: "
            f"{done.rejected} Correct the endpoint's settings and start the run again; max_rejections sets this limit."
        )

    def _is_about_one_request(self, stop: StopRun) -> bool:
        """Whether the endpoint forbids a request while its key works; several in a row mean that it does no more."""
        if stop.status not in ABOUT_ONE_REQUEST or not self.proven:
            return False
        self._forbidden += 1
        return self._forbidden < FORBIDDEN_IN_A_ROW
