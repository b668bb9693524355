"""Registry of the trainer formats: how each makes one object of a sample, and how its file is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lvqa_ray.report.trainers import rewarded, supervised
from lvqa_ray.report.trainers.training_sample import USED, Sample, SampleStyle, sample_of

if TYPE_CHECKING:  # a help page loads no rows
    import pyarrow as pa

    from lvqa_ray.records.row import TableRow


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerFormat:
    """An export format that is made from samples.

    Attributes:
        make: Converts a sample; returns ``None`` if the format, or the trainer's reward, cannot hold its answer.
        schema: Arrow schema of a Parquet file; ``None`` for JSON Lines.
        array: Whether the file is one JSON array; otherwise it is JSON Lines.
        lacks: Why records are left out, as a relative clause of a message.
    """

    make: Callable[[Sample], dict[str, Any] | None]
    schema: Callable[[], pa.Schema] | None = None
    array: bool = False
    lacks: str = "whose kind of answer it cannot hold"

    @property
    def columns(self) -> Sequence[str]:
        """Columns of `data/` that it reads."""
        return USED

    def convert(self, record: TableRow, style: SampleStyle) -> dict[str, Any] | None:
        """The object for a record, or ``None``."""
        return self.make(sample_of(record, style))


_UNGRADED = "whose kind of answer its rewards cannot grade"
TRAINER_FORMATS: Mapping[str, TrainerFormat] = {
    "qwen-vl": TrainerFormat(make=supervised.qwen_vl),
    "llava": TrainerFormat(make=supervised.llava),
    "sharegpt": TrainerFormat(make=supervised.sharegpt),
    "ms-swift": TrainerFormat(make=supervised.ms_swift),
    "trl": TrainerFormat(make=supervised.trl),
    "verl": TrainerFormat(make=rewarded.verl, schema=rewarded.verl_schema),
    "easyr1": TrainerFormat(make=rewarded.easyr1, lacks=_UNGRADED),
    "easyvideor1": TrainerFormat(make=rewarded.easyvideor1, lacks=_UNGRADED),
    "video-r1": TrainerFormat(make=rewarded.video_r1, lacks=_UNGRADED),
    "long-rl": TrainerFormat(make=rewarded.long_rl, lacks=_UNGRADED),
}
"""The built-in trainer formats."""
