"""Review decisions: what is in force, what they do to the tables, and how far reviewers agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.dataset.reader import opened
from lvqa_ray.dataset.shards import read_rows, shards
from lvqa_ray.dataset.statistics.output_statistics import count
from lvqa_ray.report.exports import Request, write_export
from lvqa_ray.report.row_filter import RowFilter
from lvqa_ray.report.trainers.training_sample import SampleStyle
from lvqa_ray.review.agreement import cohens_kappa, review_statistics
from lvqa_ray.review.application import Applied, apply_decisions
from lvqa_ray.review.decisions import Action, Decision, DecisionLog, decisions, final, in_force, texts_of
from lvqa_ray.review.queue import review_queue, stratified
from tests.report.made import make_output

BEFORE = {"question": "Why?", "options": {"A": "x"}, "answer": "A", "reasoning": "So."}


def decision(ident: str, action: Action, at: float, reviewer: str = "ann", **more: Any) -> Decision:
    said = {"video_id": "v", "before": BEFORE, "category": "goal"} | more
    return Decision(id=ident, action=action, time_s=at, reviewer=reviewer, **said)


def test_an_undo_cancels_the_last_decision_of_the_same_reviewer() -> None:
    made = [
        decision("a", "accept", 1),
        decision("a", "drop", 2),
        decision("a", "undo", 3),
        decision("b", "drop", 4),
        decision("b", "undo", 5),
        decision("b", "undo", 6),
        decision("a", "drop", 7, "bob"),
    ]
    assert {key: one.action for key, one in in_force(made).items()} == {("a", "ann"): "accept", ("a", "bob"): "drop"}
    assert {key: one.action for key, one in final(made).items()} == {"a": "drop"}


def test_kappa_of_known_tables() -> None:
    """Cohen's own kind of example: 70 of 100 agree, 50 by chance."""
    pairs = (
        [("accept", "accept")] * 35 + [("drop", "drop")] * 35 + [("accept", "drop")] * 15 + [("drop", "accept")] * 15
    )
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([("accept", "accept")] * 5) is None
    assert cohens_kappa([("accept", "drop"), ("drop", "accept")]) == pytest.approx(-1)
    assert cohens_kappa([]) is None


def test_accept_rates_by_group_with_intervals() -> None:
    made = [decision(f"r{n}", "accept" if n < 8 else "drop", n, failed_checks=("prose",) * (n > 6)) for n in range(10)]
    made += [decision("r0", "drop", 20, "bob"), decision("r9", "drop", 21, "bob")]
    found = review_statistics(made)
    ann = found.by["reviewer"]["ann"]
    assert (ann.accepted, ann.dropped, ann.of) == (8, 2, 10)
    assert (round(ann.low, 3), round(ann.high, 3)) == (0.49, 0.943)  # Wilson's interval of 8 of 10
    assert (found.by["check"]["prose"].accepted, found.by["check"]["prose"].dropped) == (1, 2)
    (kappa,) = found.kappas
    assert (kappa.reviewers, kappa.both, kappa.agreed) == (("ann", "bob"), 2, 1)


@given(
    st.dictionaries(st.integers(0, 8), st.integers(1, 40), min_size=1, max_size=6),
    st.integers(1, 60),
    st.integers(0, 3),
)
def test_a_stratified_sample_has_its_size_and_every_stratum(sizes: dict[int, int], size: int, seed: int) -> None:
    strata = {key: [f"{key}-{n}" for n in range(number)] for key, number in sizes.items()}
    picked = stratified(strata, size, seed)
    assert len(picked) == len(set(picked)) == min(size, sum(sizes.values()))
    assert picked == stratified(strata, size, seed)
    if size >= len(sizes):
        assert {name.partition("-")[0] for name in picked} == {str(key) for key in sizes}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return make_output(tmp_path / "out", 10)


def reviewed(out: Path, actions: dict[str, tuple[Action, dict[str, Any] | None]]) -> None:
    """Store a decision about each of these records."""
    log = DecisionLog(out)
    rows = {row["id"]: row for row in read_rows(out, "data")}
    for at, (ident, (action, after)) in enumerate(actions.items()):
        texts = texts_of(rows[ident])
        new = None if after is None else texts | after
        log.append(
            Decision(
                id=ident,
                video_id=rows[ident]["video_id"],
                action=action,
                reviewer="ann",
                reason="not shown" if action == "drop" else "",
                time_s=at + 1.0,
                before=texts,
                after=new,
                category=rows[ident]["category"],
            )
        )


def test_the_tables_and_exports_follow(out: Path, tmp_path: Path) -> None:
    rows = {row["id"]: row for row in read_rows(out, "data")}
    of_one = [ident for ident in rows if rows[ident]["video_id"] == "film-1"]
    new = {"question": "Where to, really?", "answer": "C", "reasoning": "To the park."}
    reviewed(out, {"film-0_q0": ("accept", None), "film-0_q1": ("edit", new), **dict.fromkeys(of_one, ("drop", None))})
    assert apply_decisions(out, "1") == Applied(accepted=1, edited=1, dropped=len(of_one))
    after = {row["id"]: row for row in read_rows(out, "data")}
    assert set(rows) - set(after) == set(of_one)
    edited = after["film-0_q1"]
    assert edited["parsed_reasoning"]["QUESTION"] == "Where to, really?"
    assert edited["full_question"].splitlines()[0] == "Where to, really?"
    assert edited["messages"][1]["content"] == "To the park.\n\nAnswer: C"
    assert (edited["open_answer"], edited["failed_checks"][-1]) == ("place C", "review")
    assert after["film-0_q0"]["checks"][-1] | {"usage": 0} == after["film-0_q0"]["checks"][-1] | {"usage": 0}
    assert (after["film-0_q0"]["checks"][-1]["check"], after["film-0_q0"]["checks"][-1]["passed"]) == ("review", True)
    drops = [row for row in read_rows(out, "drops") if row["check"] == "review"]
    assert {row["id"] for row in drops} == set(of_one)
    assert {row["reason"] for row in drops} == {"not shown"}
    (failure,) = [row for row in read_rows(out, "failures") if row["id"] == "film-1"]
    assert (failure["stage"], failure["message"]) == ("review", "no question is left: not shown")
    made = write_export(opened(out), tmp_path / "x.jsonl", Request(form="sharegpt", style=SampleStyle()))
    assert sum(made.counts.values()) == len(after)
    numbers = count(opened(out))
    assert numbers.questions.checks["review"] == {"passed": 1, "repaired": 1, "dropped": len(of_one)}
    # The version before the edit is kept, and applying again changes nothing.
    (kept,) = [one for one in decisions(out) if one.action == "edit"]
    assert kept.before["question"] == rows["film-0_q1"]["parsed_reasoning"]["QUESTION"]
    assert apply_decisions(out, "2") == Applied()
    assert {row["id"]: row for row in read_rows(out, "data")} == after
    assert len(list(read_rows(out, "drops"))) == len({row["id"] for row in read_rows(out, "drops")})


def test_preference_pairs_follow(out: Path, tmp_path: Path) -> None:
    def pairs() -> set[str]:
        made = write_export(opened(out), tmp_path / "dpo.jsonl", Request(form="dpo", style=SampleStyle()))
        return {json.loads(line)["id"] for line in Path(str(made.paths[0])).open(encoding="utf-8")}

    first, second, third, *_ = sorted(pairs())
    reviewed(
        out, {first: ("drop", None), second: ("edit", {"question": "Why?"}), third: ("edit", {"reasoning": "So."})}
    )
    before = pairs()
    (shard,) = shards(out, "data")
    table = pq.read_table(str(shard))
    rated = [row | {"solve_rate": 0.5, "watch_rate": 0.5} for row in table.to_pylist()]
    pq.write_table(table.from_pylist(rated, table.schema), str(shard))
    apply_decisions(out, "1")
    assert before - pairs() == {first, second}
    rows = {row["id"]: row for row in read_rows(out, "data")}
    assert (rows[second]["solve_rate"], rows[second]["watch_rate"]) == (None, None)
    assert (rows[third]["solve_rate"], rows[third]["watch_rate"]) == (0.5, 0.5)


def test_a_dropped_question_keeps_its_kind(out: Path) -> None:
    (shard,) = shards(out, "data")
    table = pq.read_table(str(shard))
    rows = [row | {"kind": "number"} for row in table.to_pylist()]
    pq.write_table(table.from_pylist(rows, table.schema), str(shard))
    reviewed(out, {"film-0_q0": ("drop", None)})
    apply_decisions(out, "1")
    assert [row["question_kind"] for row in read_rows(out, "drops") if row["check"] == "review"] == ["number"]


def test_an_interrupted_application_is_completed(out: Path, tmp_path: Path) -> None:
    """Killed after the rows of the dropped questions were written, before their records were removed."""
    reviewed(out, {"film-0_q0": ("drop", None)})
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    apply_decisions(copy, "1")
    (written,) = [shard for shard in shards(copy, "drops") if "review" in shard.name]
    shutil.copy(str(written), str(out / "drops" / written.name))
    assert apply_decisions(out, "2").dropped == 1
    assert "film-0_q0" not in {row["id"] for row in opened(out).rows("data", ["id"]).to_pylist()}
    assert [
        row["id"] for row in opened(out).rows("drops", ["id", "check"]).to_pylist() if row["check"] == "review"
    ] == ["film-0_q0"]


def test_a_decision_about_other_texts_is_not_applied(out: Path) -> None:
    """A later run may have given the id to another question."""
    reviewed(out, {"film-0_q0": ("drop", None)})
    (shard,) = shards(out, "data")
    table = pq.read_table(str(shard))
    rows = table.to_pylist()
    for row in rows:
        row["reformatted_reasoning"] = "Another reasoning."
    pq.write_table(table.from_pylist(rows, table.schema), str(shard))
    assert apply_decisions(out, "1") == Applied(stale=1)
    assert len(list(read_rows(out, "data"))) == len(rows)


def test_a_queue_leaves_out_what_the_reviewer_has_decided(out: Path) -> None:
    reviewed(out, {"film-0_q0": ("accept", None), "film-0_q1": ("accept", None)})
    total = len(list(read_rows(out, "data")))
    assert len(review_queue(opened(out), "ann").rows) == total - 2
    assert len(review_queue(opened(out), "bob").rows) == total
    one, other = (review_queue(opened(out), name, sample=8, seed=3) for name in ("bob", "cas"))
    assert [row["id"] for row in one.rows] == [row["id"] for row in other.rows]
    assert len(one.rows) == 8
    assert {row["category"] for row in one.rows} == {"temporal", "goal", "spatial", "plot"}
    goal = review_queue(opened(out), "bob", where=RowFilter("category == 'goal'"))
    assert {row["category"] for row in goal.rows} == {"goal"}
    assert goal.clips["film-0_1"]["caption"] == "A dog runs past tree 1."


def test_the_columns_page_lists_the_columns_of_reviews() -> None:
    from lvqa_ray.review.decisions import REVIEWS_SCHEMA
    from tests.test_docs import columns_of

    assert [name for name, _, _ in columns_of("reviews")] == REVIEWS_SCHEMA.names


def test_the_audit_shows_the_reviews(out: Path) -> None:
    from typer.testing import CliRunner

    from lvqa_ray.cli.commands import app

    reviewed(out, {"film-0_q0": ("accept", None), "film-0_q1": ("drop", None)})
    shown = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["audit", str(out)])
    assert shown.exit_code == 0, shown.output
    assert "50 % (9-91)" in shown.output
    assert "category: goal" in shown.output


def test_the_next_session_applies_what_a_run_kept_from_being_applied(out: Path) -> None:
    """Although nothing is left to review."""
    from typer.testing import CliRunner

    from lvqa_ray.cli.commands import app

    ids = [row["id"] for row in read_rows(out, "data")]
    reviewed(out, dict.fromkeys(ids, ("accept", None)) | {ids[0]: ("drop", None)})
    done = CliRunner().invoke(app, ["review", str(out), "--reviewer", "ann"])
    assert "Nothing is left to review" in str(done.exception)
    assert f"Applied from an earlier session: {len(ids) - 1} accepted, 0 edited, 1 dropped." in done.stderr
    assert ids[0] not in {row["id"] for row in read_rows(out, "data")}
