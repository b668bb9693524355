"""GPU accounting: how long each run held GPUs for the models that it served, in one file beside the tables."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from lvqa_ray.storage.paths import StoragePath, write_whole

T = TypeVar("T")
FILE = "models.json"
BROKEN_FILE = "models.json.bad"
"""Name that a file gets which cannot be parsed."""
LOG_EVERY_S = 60.0
"""Seconds between two writes during a run: a run that is killed loses at most this much of the count."""
logger = logging.getLogger(__name__)


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
        """US dollars of the GPU hours; 0 without a GPU, and ``None`` if the job sets no price."""
        if not self.gpus:
            return 0.0
        return None if self.price_gpu_hour is None else self.gpu_hours * self.price_gpu_hour


def read_model_use(folder: StoragePath) -> list[ModelUse]:
    """The use of all runs of an output; empty if no model was served.

    A file that cannot be read counts as empty too, with a warning: costs are then without GPU hours.
    """
    try:
        return _parsed((folder / FILE).read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read (%s): costs are without GPU hours", folder / FILE, error)
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
            with suppress(OSError):
                if self._earlier is None:
                    self._earlier = [use for use in self._stored() if use.run_id != self._run_id]
                content = {"used": [asdict(use) for use in (*self._earlier, *mine)]}
                write_whole(self._folder / FILE, (json.dumps(content, indent=2) + "\n").encode())
        return mine

    def _stored(self) -> list[ModelUse]:
        """The use of all runs in the file, which is kept under another name if it cannot be parsed.

        Raises:
            OSError: The file cannot be read now, so it must not be replaced.
        """
        try:
            content = (self._folder / FILE).read_bytes()
        except FileNotFoundError:
            return []
        try:
            return _parsed(content)
        except ValueError:
            write_whole(self._folder / BROKEN_FILE, content)
            logger.warning("%s cannot be parsed: it is kept as %s, without its GPU hours", FILE, BROKEN_FILE)
            return []


def _parsed(content: bytes) -> list[ModelUse]:
    """Parse the file.

    Raises:
        ValueError: It is not such a file.
    """
    try:
        return [ModelUse(**_known(line)) for line in json.loads(content)["used"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no use of models: {error}") from None


def _known(line: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this release knows."""
    names = {field.name for field in fields(ModelUse)}
    return {name: value for name, value in line.items() if name in names}
