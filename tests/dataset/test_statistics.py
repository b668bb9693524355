"""The numbers of an output are those that are written down in ``tests/fixtures/statistics.json``.

``python -m tests.dataset.test_statistics`` writes them anew; do so only where a change of the numbers is meant.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lvqa_ray.dataset.compaction import compact_shards
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.statistics.output_statistics import count
from tests.dataset.test_audit import write
from tests.fixtures.make_output import restore
from tests.report.earlier import rewritten
from tests.report.made import make_output, many

WRITTEN = Path(__file__).parents[1] / "fixtures" / "statistics.json"


def earlier_release(folder: Path) -> None:
    """An output of an earlier release, resumed later: shards with columns of both, and rows that do not stand."""
    make_output(folder, 20)
    many(folder, 2)
    for table in ("data", "drops", "failures"):
        rewritten(folder / table / "part-1.parquet", table)
        later = pq.read_table(folder / table / "part-2.parquet")
        renamed = pc.replace_substring(later["run_id"], "1", "2")
        later = later.set_column(later.column_names.index("run_id"), "run_id", renamed)
        ident = "id" if table == "failures" else "video_id"
        some = pc.or_(pc.ends_with(later[ident], "9"), pc.ends_with(later[ident], "0"))
        same = pc.replace_substring(later[ident], "film2", "film")
        later = later.set_column(later.column_names.index(ident), ident, pc.if_else(some, same, later[ident]))
        pq.write_table(later, folder / table / "part-2.parquet")


def crooked(folder: Path) -> None:
    write(folder, at_b=0.2, long=0.2, guessed=0.3)


OUTPUTS: dict[str, Callable[[Path], object]] = {
    "output-7e7ea9a": restore,
    "made": lambda folder: make_output(folder, 30),
    "earlier release": earlier_release,
    "crooked": crooked,
}


def numbers_of(folder: Path) -> dict[str, Any]:
    """All numbers of an output as JSON."""
    ids = pa.array([f"{film}-{n}" for film in ("film", "film2") for n in range(15)] + ["v1", "w", "p", "q"])
    counted = count(OutputReader(folder))
    seconds, audited = counted.clip_seconds, counted.audit
    compact_shards(folder, "20990101T000000000000Z", 20_000)  # as it is when a run counts its questions
    sums = {name: getattr(audited, name) for name in ("asked", "tokens_per_record", "usd_per_record")}
    plain = ("videos", "with_records", "alone", "results", "clips", "hours", "dropped", "failures", "unfinished")
    questions = counted.questions
    lengths = [len(seconds), float(seconds.sum()), *np.quantile(seconds, [0, 0.5, 1])] if len(seconds) else []
    return {
        "questions": asdict(count(OutputReader(folder), ids).selected),
        "audit": asdict(audited) | sums,
        "report": {name: getattr(counted, name) for name in plain}
        | {name: getattr(questions, name) for name in ("asked", "kept", "checks")}
        | {name: _named(getattr(questions, name)) for name in ("categories", "quota")}
        | {"failed": [asdict(kind) for kind in counted.failed], "keys": audited.keys}
        | {"clip_seconds": lengths},
    }


def _named(counts: dict[str, Any]) -> dict[str, Any]:
    return {category or "none": count for category, count in counts.items()}


ADDED = {"kinds", "unaided"}
"""Fields of the audit that the expected numbers do not have yet."""


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_numbers_of_an_output_stay(name: str, tmp_path: Path) -> None:
    OUTPUTS[name](tmp_path / "out")
    found = _flat(json.loads(json.dumps(numbers_of(tmp_path / "out"))))
    added = {path for path in found if path.split("/")[2] in ADDED}
    assert {path.split("/")[3] for path in added if "/kinds/" in path} <= {"choice"}  # earlier outputs hold no others
    found = {path: leaf for path, leaf in found.items() if path not in added}
    expected = _flat(json.loads(WRITTEN.read_text())[name])
    close = {
        path: pytest.approx(leaf, rel=1e-9, nan_ok=True) if isinstance(leaf, float) else leaf
        for path, leaf in expected.items()
    }
    assert found == close


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """The leaves by their path."""
    if isinstance(value, dict) and value:
        return {path: leaf for key, inner in value.items() for path, leaf in _flat(inner, f"{name}/{key}").items()}
    if isinstance(value, list) and value:
        return {path: leaf for key, inner in enumerate(value) for path, leaf in _flat(inner, f"{name}/{key}").items()}
    return {name: value}


def main() -> None:
    """Write the numbers down."""
    said = {}
    for name, make in OUTPUTS.items():
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder) / "out")
            said[name] = numbers_of(Path(folder) / "out")
    WRITTEN.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
