"""File batches: every state and fault of `/files` and `/batches`; nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.errors import (
    ApiError,
    BadRequest,
    BatchFailed,
    BudgetSpent,
    ContentFiltered,
    EndpointDown,
    Overloaded,
    TooLong,
)
from lvqa_ray.llm.batches.batch_api import BatchState
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.llm.middleware.budget import Budget
from tests.fakes.endpoint import FakeEndpoint, Fault, Status
from tests.llm.batched import ASKED, BatchRun, answers, batched, billed, deferred, request, statuses


def test_a_round(fake: FakeEndpoint, tmp_path: Path) -> None:
    budget = Budget(max_cost=1.0)
    with BatchRun(tmp_path, batched(fake), budget=budget) as run:
        assert deferred(run.one_pass(ASKED)) == len(ASKED)
        assert run.runner.wait(str)
        assert answers(run.one_pass(ASKED)) == len(ASKED)
        assert not run.runner.wait(str)
    assert len(fake.batches.made) == 1
    assert max(fake.batches.asked.values()) == 1
    assert fake.counts["ok"] == 0, "nothing went to /chat/completions"
    assert billed(tmp_path) == pytest.approx(fake.ledger.usd, rel=1e-12)
    assert budget.spent_usd == pytest.approx(fake.ledger.usd, rel=1e-9)
    assert fake.batches.files == {}, "the files are deleted when their answers are in the journal"
    assert list((tmp_path / "files-r1").iterdir()) == []


def test_limits_divide_the_requests(fake: FakeEndpoint, tmp_path: Path) -> None:
    with BatchRun(tmp_path, batched(fake, batch_requests=5)) as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert sorted(len(batch.rows) for batch in fake.batches.made.values()) == [2, 5, 5]
    long = [request("x" * 3000 + str(number)) for number in range(4)]
    with BatchRun(tmp_path, batched(fake, batch_mb=0.007), "r2") as run:
        assert answers(run.ask(long)) == 4
        (refused,) = run.ask([request("x" * 8000)])
    assert isinstance(refused, TooLong), "larger than a file: the stage sends fewer frames"
    assert sorted(len(batch.rows) for batch in fake.batches.made.values()) == [2, 2, 2, 5, 5]


def test_a_file_that_is_not_full_goes_out_in_time(fake: FakeEndpoint, tmp_path: Path) -> None:
    with BatchRun(tmp_path, batched(fake, batch_wait_s=0.3)) as run:
        run.one_pass(ASKED)
        until = time.monotonic() + 5
        while not fake.batches.made and time.monotonic() < until:
            time.sleep(0.02)
        assert fake.batches.made, "while the pass goes on"


def test_rows_with_errors_are_typed(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.row_faults = {
        "What is 1?": Status(400, "context_length_exceeded", "invalid_request_error", "Too long."),
        "What is 2?": Status(500, None, "server_error", "Failed."),
        "What is 3?": Fault.CONTENT_FILTER,
    }
    with BatchRun(tmp_path, batched(fake, max_attempts=2)) as run:
        outcomes = run.ask(ASKED)
        assert answers(outcomes) == len(ASKED) - 3
        assert [type(outcomes[number]) for number in (1, 2, 3)] == [TooLong, Overloaded, ContentFiltered]
        (failed,) = (outcome for outcome in outcomes if isinstance(outcome, Overloaded))
        assert (failed.attempts, failed.retryable) == (2, True)
    assert len(fake.batches.made) == 2, "the request with a server fault was in two batches, the others in one"
    assert billed(tmp_path) == pytest.approx(fake.ledger.usd, rel=1e-12)
    assert [times for key, times in fake.batches.answered.items() if times > 1] == []


def test_a_partly_expired_batch(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.expire_after = 5
    with BatchRun(tmp_path, batched(fake)) as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert statuses(tmp_path) == ["expired", "expired", "completed"]
    assert max(fake.batches.answered.values()) == 1
    assert billed(tmp_path) == pytest.approx(fake.ledger.usd, rel=1e-12)


def test_a_batch_that_does_not_end_is_cancelled(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.stuck = True
    with BatchRun(tmp_path, batched(fake, batch_hours=1 / 3600, fallback_after_min=0.01)) as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert statuses(tmp_path) == ["cancelled"]
    assert fake.ledger.replies == {"standard": len(ASKED)}, "after that they were sent on the standard tier"


def test_lost_and_doubled_results(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.forget, fake.batches.twice = 2, 3
    with BatchRun(tmp_path, batched(fake)) as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert [len(batch.rows) for batch in fake.batches.made.values()] == [12, 2]


def test_a_batch_in_which_every_request_failed_has_no_output_file(fake: FakeEndpoint, tmp_path: Path) -> None:
    """LiteLLM #33987: "Output file id is None" again and again, as the errors are in another file."""
    fake.batches.row_faults = {"What": Status(400, "invalid_value", "invalid_request_error", "Bad.")}
    with BatchRun(tmp_path, batched(fake)) as run:
        outcomes = run.ask(ASKED)
    assert {type(outcome) for outcome in outcomes} == {BadRequest}
    assert (billed(tmp_path), statuses(tmp_path)) == (0.0, ["completed"])


def test_states_as_servers_write_them() -> None:
    """An empty string for no error file (kaibo #93), capitals (Novita), and results that are announced too early."""
    shown = {"id": "b", "status": "COMPLETED", "output_file_id": "file-1", "error_file_id": "", "metadata": None}
    state = BatchState.of(shown)
    assert state is not None
    assert (state.ended, state.results, state.faults, state.total) == (True, ("file-1",), (), 0)
    early = BatchState.of(shown | {"status": "in_progress"})  # aibrix #2409
    assert early is not None
    assert not early.ended
    assert BatchState.of({"object": "list"}) is None


def test_a_request_that_is_never_in_the_results_fails(fake: FakeEndpoint, tmp_path: Path) -> None:
    with BatchRun(tmp_path, batched(fake)) as run:
        for _ in range(4):
            fake.batches.forget = 1
            (outcome,) = run.one_pass(ASKED[:1])
            run.runner.wait(str)
    assert isinstance(outcome, BatchFailed)
    assert "lacks the request" in str(outcome)
    assert outcome.retryable


def test_a_line_that_fails_the_validation(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.fail_line = 3
    with BatchRun(tmp_path, batched(fake)) as run:
        outcomes = run.ask(ASKED)
    (failed,) = (outcome for outcome in outcomes if isinstance(outcome, ApiError))
    assert isinstance(failed, BatchFailed)
    assert "at line 3: invalid_request: Invalid value for 'max_tokens'." in str(failed)
    assert answers(outcomes) == len(ASKED) - 1
    assert statuses(tmp_path) == ["failed", "completed"]


def test_too_many_tokens_waiting_is_no_failure(fake: FakeEndpoint, tmp_path: Path) -> None:
    """OpenAI fails a batch at once if its queue of tokens is full."""
    fake.batches.full = 3
    with BatchRun(tmp_path, batched(fake, max_attempts=1)) as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert statuses(tmp_path) == ["failed"] * 3 + ["completed"]


@pytest.mark.parametrize("what", ["upload", "create", "create_after", "status", "content"])
def test_broken_connections(fake: FakeEndpoint, tmp_path: Path, what: str) -> None:
    fake.batches.drop_next[what] = 2
    with BatchRun(tmp_path, batched(fake)) as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert max(fake.batches.asked.values()) == 1
    assert max(fake.batches.answered.values()) == 1
    assert billed(tmp_path) == pytest.approx(fake.ledger.usd, rel=1e-12)


@pytest.mark.parametrize("what", ["upload", "create"])
def test_an_outage_is_no_attempt(fake: FakeEndpoint, tmp_path: Path, what: str) -> None:
    """Four rounds without an upload, or with a 429 at the creation; the requests count in the budget when they go."""
    if what == "upload":
        fake.batches.drop_next["upload"] = 4 * 5
    else:
        fake.batches.crowded = 4
    budget = Budget(max_requests=len(ASKED))
    with BatchRun(tmp_path, batched(fake), budget=budget) as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert budget.sent == len(ASKED)
    assert max(fake.batches.asked.values()) == 1


def test_an_outage_that_lasts_ends_the_run(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.drop_next["upload"] = 1000
    with BatchRun(tmp_path, batched(fake, max_outage_s=0.3)) as run:
        outcomes = run.ask(ASKED)
    assert {type(outcome) for outcome in outcomes} == {EndpointDown}


def test_an_endpoint_without_batches_fails_the_requests(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.offered = False
    with BatchRun(tmp_path, batched(fake)) as run:
        run.one_pass(ASKED)
        run.runner.wait(str)
        outcomes = run.one_pass(ASKED)
    assert {type(outcome).__name__ for outcome in outcomes} == {"NotFound"}, "which stops the run"
    assert fake.batches.files == {}


def test_refused_parameters(fake: FakeEndpoint, tmp_path: Path) -> None:
    """Reasoning models refuse `max_tokens`, and then `temperature`, for every request of a file, in the error file."""
    fake.batches.reasoning = True
    asked = [request(f"What is {number}?", max_tokens=50, temperature=0.2) for number in range(5)]
    with BatchRun(tmp_path, batched(fake)) as run:
        assert answers(run.ask(asked)) == len(asked)
    bodies = [[row["body"] for row in batch.rows] for batch in fake.batches.made.values()]
    limits = {"max_tokens", "max_completion_tokens", "temperature"}
    assert [{tuple(sorted(set(body) & limits)) for body in each} for each in bodies] == [
        {("max_tokens", "temperature")},
        {("max_completion_tokens", "temperature")},
        {("max_completion_tokens",)},
    ]
    assert billed(tmp_path) == pytest.approx(fake.ledger.usd, rel=1e-12)


def test_a_parameter_that_stays_refused(fake: FakeEndpoint, tmp_path: Path) -> None:
    """An endpoint that refuses both forms gets each request twice, not again and again."""
    refusal = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    fake.batches.row_faults = {"What": Status(400, "unsupported_parameter", "invalid_request_error", refusal)}
    with BatchRun(tmp_path, batched(fake)) as run:
        outcomes = run.ask([request(f"What is {number}?", max_tokens=50) for number in range(3)])
    assert {type(outcome) for outcome in outcomes} == {BadRequest}
    assert len(fake.batches.made) == 2


def test_a_budget_is_reserved_before_a_request_is_collected(fake: FakeEndpoint, tmp_path: Path) -> None:
    budget = Budget(max_requests=4)
    with BatchRun(tmp_path, batched(fake), budget=budget) as run:
        outcomes = run.one_pass(ASKED)
        run.runner.wait(str)
    assert sum(isinstance(outcome, BudgetSpent) for outcome in outcomes) == 8
    assert fake.paid.total() == 4


def test_room_on_the_disk_bounds_what_waits(fake: FakeEndpoint, tmp_path: Path) -> None:
    budget = Budget(max_requests=len(ASKED))
    run = BatchRun(tmp_path, batched(fake, batch_requests=2), budget=budget)
    run.queue._queue._most_bytes = 700
    with run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert budget.sent == len(ASKED), "requests that wait for room are counted once"
    assert budget.spent_usd == pytest.approx(fake.ledger.usd, rel=1e-9)
    assert max(fake.batches.asked.values()) == 1


def test_replies_are_those_of_the_standard_tier(fake: FakeEndpoint, tmp_path: Path) -> None:
    def texts(name: str, **fields: Any) -> list[str]:
        with BatchRun(tmp_path / name, batched(fake, **fields)) as run:
            return [outcome.text for outcome in run.ask(ASKED) if isinstance(outcome, ChatReply)]

    assert texts("batch") == texts("fallback", fallback_after_min=0.0)


def test_a_batch_that_cannot_be_cancelled_may_still_end(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.no_cancel, fake.batches.state_s = True, 0.3
    with BatchRun(tmp_path, batched(fake, batch_hours=0.1 / 3600)) as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert statuses(tmp_path) == ["completed"]
