"""GPU time that runs used on models that the job serves itself, kept in one file beside the tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from lvqa_ray.storage.paths import StoragePath, write_whole

T = TypeVar("T")
FILE = "models.json"
LOG_EVERY_S = 60.0
"""Seconds between two writes during a run: a run that is killed loses at most this much of the count."""


@dataclass(frozen=True, slots=True)
class ModelUse:
    """Time for which one run used one served model.

    Attributes:
        label: Model and engine.
        model: Name of the model, as in the costs of calls.
        replicas: Number of replicas.
        gpus: GPUs of one replica.
        seconds: Time from the request for the GPUs to the end of the last pass: loading counts, the end of the servers
            does not. For a model that was up before, the time begins with the run.
        price_gpu_hour: US dollars per GPU and hour; ``None`` if the job sets none.
        run_id: Id of the run.
    """

    label: str
    model: str
    replicas: int
    gpus: float
    seconds: float
    price_gpu_hour: float | None = None
    run_id: str = ""

    @property
    def gpu_hours(self) -> float:
        """GPU hours of all replicas."""
        return self.replicas * self.gpus * self.seconds / 3600

    @property
    def cost_usd(self) -> float | None:
        """US dollars of the GPU hours; ``None`` if the job sets no price."""
        return None if self.price_gpu_hour is None else self.gpu_hours * self.price_gpu_hour


def read_model_use(folder: StoragePath) -> list[ModelUse]:
    """The use of all runs of an output; empty if no model was served, or the file is unreadable."""
    try:
        lines = json.loads((folder / FILE).read_text(encoding="utf-8"))["used"]
        return [ModelUse(**_known(line)) for line in lines]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def gpu_cost(used: Iterable[ModelUse]) -> float | None:
    """US dollars of some uses: 0 for none; ``None`` if one has no price."""
    costs = [use.cost_usd for use in used]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


class ModelUseLog:
    """Keeps the file up to date during a run.

    Args:
        folder: The output folder.
        run_id: Id of the run.
        used: Gives the use so far.
    """

    def __init__(self, folder: StoragePath, run_id: str, used: Callable[[], Sequence[ModelUse]]) -> None:
        self._folder, self._run_id, self._used = folder, run_id, used
        self._earlier: list[ModelUse] | None = None
        self._written_at: float | None = None

    def with_periodic_write(self, call: Callable[[], T]) -> Callable[[], T]:
        """A function that writes the file if `LOG_EVERY_S` have passed, and then makes the call.

        Args:
            call: Called every few seconds anyway.
        """

        def both() -> T:
            if self._written_at is None or time.monotonic() >= self._written_at + LOG_EVERY_S:
                self.write()
            return call()

        return both

    def write(self) -> list[ModelUse]:
        """Write the file, if a model is served, and return the use of this run; a failed write is repeated later."""
        self._written_at = time.monotonic()
        mine = [ModelUse(**asdict(use) | {"run_id": self._run_id}) for use in self._used()]
        if mine:
            if self._earlier is None:
                self._earlier = [use for use in read_model_use(self._folder) if use.run_id != self._run_id]
            content = {"used": [asdict(use) for use in (*self._earlier, *mine)]}
            with suppress(OSError):
                write_whole(self._folder / FILE, (json.dumps(content, indent=2) + "\n").encode())
        return mine


def _known(line: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this release knows."""
    names = {field.name for field in fields(ModelUse)}
    return {name: value for name, value in line.items() if name in names}
