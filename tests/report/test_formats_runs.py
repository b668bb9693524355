"""An output with rows of two runs, as it is while the second is under way or after it was killed."""

from __future__ import annotations

from pathlib import Path

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.shards import write_shard
from lvqa_ray.dataset.statistics.audit import audit
from lvqa_ray.dataset.statistics.report_numbers import count


def test_what_an_earlier_run_dropped_is_not_counted_again(tmp_path: Path) -> None:
    def lines(video: str, run: str, places: range) -> list[dict[str, str]]:
        origin = {"video_id": video, "run_id": run, "category": "goal", "check": "blind", "kind": "blind"}
        return [{"id": f"{video}_q{place}"} | origin for place in places]

    write_shard(tmp_path, "data", "1", [*lines("v", "1", range(2)), *lines("w", "1", range(3))])
    write_shard(tmp_path, "drops", "1", [*lines("v", "1", range(2, 4)), *lines("w", "1", range(3, 4))])
    write_shard(tmp_path, "data", "2", lines("v", "2", range(4)))
    write_shard(tmp_path, "failures", "2", [{"id": "w", "kind": "refused", "retryable": True, "run_id": "2"}])
    output = OutputReader(tmp_path)
    assert (count(output).kept, output.rows("drops", ["id"])["id"].to_pylist()) == (7, ["w_q3"])
    seen = audit(tmp_path)
    assert (seen.records, seen.asked) == (7, 8)
