"""A corpus that was moved or copied pays for nothing again, and an output of an earlier release goes on."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.engine.preflight.dry_run import plan
from lvqa_ray.engine.provenance import code_version
from lvqa_ray.engine.run import run
from tests import media
from tests.conftest import JobMaker
from tests.fakes.endpoint import FakeEndpoint
from tests.fixtures import make_output

pytestmark = pytest.mark.timeout(240)


stored_as = partial(make_output.job, engine={"num_cpus": 2, "executor": "local"})
"""The job that an earlier release ran on Ray."""


def rows(out: Path | str, table: Any = "data") -> list[dict[str, Any]]:
    return sorted(read_rows(Path(out), table), key=lambda row: str(row["id"]))


def test_a_corpus_that_moved_is_done_and_two_copies_are_paid_for_once(
    tmp_path: Path, fake: FakeEndpoint, make_job: JobMaker
) -> None:
    here, there = tmp_path / "films", tmp_path / "elsewhere/films"
    here.mkdir()
    media.make_video(here / "one.mp4", seconds=2, scenes=(0.6,))
    (here / "one.srt").write_text("1\n00:00:00,200 --> 00:00:01,000\nGood morning.\n")
    settings: dict[str, Any] = {
        "split": {"max_seconds": 1.0},
        "cut": {"mode": "copy"},
        "speech": {"sources": ["sidecar"]},
        # Shuffled by id, the options of a copy would be in another order, which asks for another rewriting.
        "checks": {name: {"policy": "off"} for name in ("blind", "solve", "prose", "shuffle")},
    }
    first = run(make_job(here, **settings))
    assert (first.records, first.verdict.ok) == (1, True)
    before, paid = rows(first.output), fake.paid.total()

    there.parent.mkdir()
    shutil.move(here, there)
    for path in there.iterdir():
        path.touch()
    assert plan(make_job(there, **settings)).reasons == {"already done": 1}
    again = run(make_job(there, **settings))
    assert (again.records, again.already_done, again.verdict.ok) == (1, 1, True)
    assert (rows(again.output), fake.paid.total()) == (before, paid)
    known = OutputReader(Path(again.output)).rows("data", ["id", "video"]).to_pylist()
    assert known == [{"id": "one_q0", "video": str(there / "one.mp4")}], "exports and the report find it there"

    # Under another name of the manifest's own, and with two copies of another film.
    shutil.copyfile(there / "one.mp4", there / "again.mp4")
    shutil.copyfile(there / "one.srt", there / "again.srt")
    manifest = tmp_path / "m.jsonl"
    media.make_video(tmp_path / "two.mp4", seconds=2, scenes=(1.3,))
    shutil.copyfile(tmp_path / "two.mp4", tmp_path / "two-copy.mp4")
    manifest.write_text(
        f'{{"video": "{there}/again.mp4", "id": "mine"}}\n'
        f'{{"video": "{tmp_path}/two.mp4", "id": "two"}}\n{{"video": "{tmp_path}/two-copy.mp4", "id": "two-copy"}}\n'
    )
    done = run(make_job(manifest, **settings))
    assert done.verdict.ok, done.verdict.line
    assert (done.records + sum(done.failures.values()), done.videos) == (3, 3)
    assert fake.paid.total() == 2 * paid, "the copies cost nothing"
    assert {row["video_id"] for row in rows(done.output)} >= {"one", "mine"}, "a film does not repeat itself"
    same = [row for row in rows(done.output, "drops") if row["check"] == "duplicates"]
    assert {row["video_id"] for row in same} <= {"two-copy", "two"}


def test_an_output_of_an_earlier_release_is_resumed_moved_and_changed(tmp_path: Path) -> None:
    films = make_output.restore(out := tmp_path / "out")
    before = {table: rows(out, table) for table in ("data", "clips", "failures", "drops")}
    with FakeEndpoint(port=make_output.PORT) as fake:
        resumed = run(stored_as(out, *films))
        assert (resumed.already_done, resumed.records, resumed.failures) == (3, 2, {"not_a_video": 1})
        assert resumed.verdict.ok, resumed.verdict.line
        assert {table: rows(out, table) for table in before} == before

        # Moved with their times, as by mv; and one of them copied without.
        moved = tmp_path / "moved"
        moved.mkdir()
        for film in (*films, films[0].with_suffix(".srt")):
            shutil.copy2(film, moved / film.name)
        (moved / "q.mp4").touch()
        assert plan(stored_as(out, moved), ask_endpoints=False).reasons == {"already done": 3}
        again = run(stored_as(out, moved))
        assert (again.already_done, again.verdict.ok) == (3, True)
        assert fake.paid.total() == 0

        # What is reworded is asked; captions and questions come from the journal, also where the films are now. That
        # the clock was years ahead in the runs before changes nothing.
        in_the_future(out)
        changed = stored_as(out, moved, reformat={"system": "Be kind."})
        reworded = run(changed)
        assert (reworded.records, reworded.verdict.ok) == (2, True), reworded.verdict.line
        assert reworded.run_id > "2099"
        assert fake.paid.total() == 2
        made = {row["id"]: row for row in rows(out)}
        assert made.keys() == {"r_q0", "p_q0", "q_q0"}, "new ids do not depend on the quota"
        assert {made[name]["job_hash"] for name in ("p_q0", "q_q0")} == {changed.job_hash}
        assert made["r_q0"].get("models") is None
        assert json.loads(made["p_q0"]["models"])["reformat"] == "fake-vlm"
        assert json.loads(made["p_q0"]["prompts"])["ask"].startswith("ask/")
        assert made["p_q0"]["code"] == code_version()
        assert plan(changed, ask_endpoints=False).reasons == {"already done": 3}
        # The answers of the runs before stay the older ones.
        assert max(path.name for path in (out / "cache").glob("reformat-*")).startswith(f"reformat-{reworded.run_id}")
        said = json.loads((out / "run.json").read_text())
        assert said["jobs"].keys() == {changed.job_hash}, "of the job of r the release before wrote nothing down"


def in_the_future(out: Path) -> None:
    """Let all runs of an output have been made 73 years later, with everything that their ids name."""
    for shard in out.glob("*/*.parquet"):
        table = pq.read_table(shard)
        later = pc.replace_substring(table["run_id"], "2026", "2099")
        pq.write_table(table.set_column(table.column_names.index("run_id"), "run_id", later), shard)
    for path in (*out.glob("*/*.parquet"), *out.glob("cache/**/*.jsonl")):
        path.rename(path.with_name(path.name.replace("2026", "2099")))
    (out / "run.json").write_text((out / "run.json").read_text().replace('"2026', '"2099'))
