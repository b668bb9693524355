"""Replies of a real HTTP endpoint: streams, whole and cut, finish reasons, and rejections of one request or of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray import errors
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.llm.ratelimit.outcome import FailureScope, RequestOutcome
from lvqa_ray.llm.ratelimit.rejections import Rejections
from tests.fakes.scripted import Reply, completion, stream
from tests.llm.asking import ask

A = "A block moves to the right."
ONLY_STREAMS = {"error": {"message": "This model only support stream mode.", "code": "invalid_parameter_error"}}


def text_of(outcome: object) -> str:
    assert isinstance(outcome, ChatReply), outcome
    return outcome.text


@pytest.mark.parametrize("fields", [{"stream": True}, {"extra_body": {"stream": True}}])
def test_a_stream_is_assembled_with_its_usage(tmp_path: Path, fields: dict[str, Any]) -> None:
    (reply,), bodies = ask(tmp_path, lambda _: stream(["<think>DRAFT</thi", "nk>A block \u2028", "moves."]), **fields)
    assert text_of(reply) == "A block \u2028moves."
    assert isinstance(reply, ChatReply)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (100, 20)
    assert bodies[0]["stream"] is True
    assert bodies[0]["stream_options"] == {"include_usage": True}


def test_an_endpoint_that_says_that_it_only_streams_is_asked_for_streams_from_then_on(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        return stream([A]) if body.get("stream") else Reply.of(400, ONLY_STREAMS)

    outcomes, bodies = ask(tmp_path, reply, "one", "two")
    assert [text_of(outcome) for outcome in outcomes] == [A, A]
    assert [body.get("stream") for body in bodies] == [None, True, True]


def test_an_endpoint_that_takes_no_stream_options_is_asked_without(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        if "stream_options" in body:
            return Reply.of(400, {"error": {"message": "Unrecognized request argument supplied: stream_options"}})
        return stream([A], usage=False)

    (outcome,), bodies = ask(tmp_path, reply, stream=True)
    assert text_of(outcome) == A
    assert len(bodies) == 2


def _event(**choice: object) -> bytes:
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


_A1, _A2 = _event(index=0, delta={"content": A[:9]}), _event(index=0, delta={"content": A[9:]})
_STOP, _DONE = _event(index=0, delta={}, finish_reason="stop"), b"data:[DONE]\n\n"


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + _A1 + _A2 + _STOP,
        (_A1 + _A2 + _STOP + _DONE).replace(b"\n", b"\r"),
        (_A1 + _A2 + _STOP + _DONE).replace(b"\n", b"\r\n"),
        b": OPENROUTER PROCESSING\n\n" + _A1 + b": alive\n\ndata: ping\n\n" + _A2 + _STOP,
        _A1 + _A2 + _event(index=0, message={"content": A}, finish_reason="stop"),
        _A1 + _A2 + _DONE,
        _event(index=None, delta={"content": A}, finish_reason="stop"),
        b'data: {"choices": [{"index": 1, "delta": {"content": "B"}}, {"index": 0, "delta": {"content": "%s"}}]}\n\n%s'
        % (A.encode(), _STOP),
    ],
    ids=["mark", "CR", "CRLF", "signs of life", "MiniMax", "no reason", "no index", "two choices"],
)
def test_a_stream_loses_no_text_and_gives_none_twice(tmp_path: Path, body: bytes) -> None:
    (outcome,), _ = ask(tmp_path, lambda _: Reply(200, body, "text/event-stream"), stream=True, max_attempts=1)
    assert text_of(outcome) == A


def test_a_second_finish_reason_does_not_hide_that_a_reply_was_cut(tmp_path: Path) -> None:
    body = _event(index=0, delta={"content": A}, finish_reason="length") + _STOP + _DONE
    (outcome,), _ = ask(tmp_path, lambda _: Reply(200, body, "text/event-stream"), stream=True, max_attempts=1)
    assert isinstance(outcome, errors.TruncatedReply)


@pytest.mark.parametrize(
    "cut",
    [
        stream(["A block"], finish=None, usage=False, done=False),
        stream(["A block"], finish=None),
        stream(["A block"])._replace(body=stream(["A block"]).body[:90], missing=50),
        Reply(200, b'data: {"choices": [{"index": 0, "delta": {"content": "A bl', "text/event-stream"),
        Reply(200, b"", "text/event-stream"),
    ],
    ids=["no end", "done without a reason", "connection", "event", "nothing"],
)
def test_a_stream_that_is_cut_is_never_an_answer(tmp_path: Path, cut: Reply) -> None:
    (outcome,), bodies = ask(tmp_path, lambda _: cut, stream=True, max_attempts=1)
    assert isinstance(outcome, errors.Disconnected), outcome
    assert len(bodies) == 1


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "x", "type": "overloaded_error"}}, errors.Overloaded),
        ({"error": {"message": "x", "code": "insufficient_quota"}}, errors.QuotaExceeded),
        ({"error": {"message": "x", "code": "data_inspection_failed"}}, errors.ContentFiltered),
        ({"error": {"message": "maximum context length", "code": 400}}, errors.TooLong),
        ({"object": "error", "message": "x", "code": 500}, errors.Overloaded),
        ({"choices": [{"index": 0, "delta": {}, "error": {"code": 429, "message": "x"}}]}, errors.RateLimited),
        ({"base_resp": {"status_code": 1027, "status_msg": "x"}}, errors.ContentFiltered),
    ],
)
def test_an_error_inside_a_stream_is_that_error(tmp_path: Path, event: object, kind: type[errors.ApiError]) -> None:
    head = stream(["A block"], finish=None, usage=False, done=False)
    broken = head._replace(body=head.body + f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode())
    (outcome,), _ = ask(tmp_path, lambda _: broken, stream=True, max_attempts=1)
    assert type(outcome) is kind


def test_a_server_that_streams_or_does_not_as_it_likes_is_understood(tmp_path: Path) -> None:
    (plain,), _ = ask(tmp_path / "a", lambda _: Reply.of(200, completion(A)), stream=True)
    (streamed,), _ = ask(tmp_path / "b", lambda _: stream([A])._replace(content_type="text/plain"))
    assert text_of(plain) == text_of(streamed) == A


@pytest.mark.parametrize(
    ("answer", "kind", "sent"),
    [
        (completion("A block mo", "MAX_TOKENS"), errors.TruncatedReply, 1),
        (completion("", "sensitive"), errors.ContentFiltered, 1),
        (completion("A block mo", "refusal"), errors.Refused, 1),
        (completion("A block mo", "model_length"), errors.TooLong, 1),
        (completion("A block mo", "zorb"), errors.TruncatedReply, 1),
        (completion("", "zorb"), errors.EmptyReply, 2),
        (completion(None, "MALFORMED_FUNCTION_CALL"), errors.EmptyReply, 2),
        (completion("", reasoning_content="DRAFT"), errors.EmptyReply, 2),
        (completion([{"type": "thinking", "thinking": [{"type": "text", "text": "DRAFT"}]}]), errors.EmptyReply, 2),
    ],
)  # fmt: skip
def test_a_reply_without_an_answer_is_paid_at_most_twice(
    tmp_path: Path, answer: dict[str, Any], kind: type[errors.ApiError], sent: int
) -> None:
    (outcome,), bodies = ask(tmp_path, lambda _: Reply.of(200, answer))
    assert type(outcome) is kind
    assert len(bodies) == sent


@pytest.mark.parametrize(
    "answer",
    [
        completion([{"type": "thinking", "thinking": [{"text": "DRAFT"}]}, {"type": "text", "text": A}]),
        completion([{"type": "reasoning", "text": "DRAFT"}, {"type": "text", "text": A}]),
        completion([{"text": "DRAFT", "thought": True}, {"text": A}]),
        completion(A, "end_turn", reasoning_content="DRAFT"),
        completion(A, "zorb"),
        completion(A, None),
    ],
)
def test_an_answer_beside_a_draft_is_the_answer(tmp_path: Path, answer: dict[str, Any]) -> None:
    (outcome,), _ = ask(tmp_path, lambda _: Reply.of(200, answer))
    assert text_of(outcome) == A


def test_an_endpoint_that_rejects_every_request_stops_the_run(tmp_path: Path) -> None:
    refusal = Reply.of(400, {"error": {"message": "image 17 has a format that is not supported"}})
    outcomes, bodies = ask(tmp_path, lambda _: refusal, *"abcdefgh", max_rejections=3)
    assert [type(outcome) for outcome in outcomes] == [*[errors.BadRequest] * 3, *[errors.EndpointRejects] * 5]
    assert len(bodies) == 3
    assert all(isinstance(outcome, errors.ApiError) and outcome.retryable for outcome in outcomes)
    assert "format that is not supported" in str(outcomes[-1])


def test_rejections_with_names_of_requests_in_them_are_for_the_same_reason(tmp_path: Path) -> None:
    ids = iter(["req_011CaBx", "a3f-77b-c01", "2026112813AbCdEf", "Zq9", "k2k2"])

    def reply(_: object) -> Reply:
        return Reply.of(400, {"error": {"message": f"format not supported (request id: {next(ids)})"}})

    outcomes, bodies = ask(tmp_path, reply, *"abcde", max_rejections=3)
    assert isinstance(outcomes[-1], errors.EndpointRejects)
    assert len(bodies) == 3


def test_answers_of_an_earlier_run_are_no_proof_for_ever() -> None:
    rejections = Rejections(2)
    rejected = RequestOutcome(failed=FailureScope.REQUEST, rejected="bad picture 7", stage="caption", proven=True)
    assert [rejections.note(rejected) is None for _ in range(20)] == [True] * 19 + [False]
    rejections = Rejections(2)
    rejections.note(RequestOutcome(stage="caption"))
    assert all(rejections.note(rejected) is None for _ in range(20)), "a fresh answer is one"


def test_an_endpoint_that_answers_one_stage_may_reject_all_of_another() -> None:
    rejections = Rejections(2)
    assert rejections.note(RequestOutcome(stage="caption")) is None
    rejected = RequestOutcome(failed=FailureScope.REQUEST, rejected="bad picture 7")
    for stage, stops in [("caption", False), ("caption", False), ("ask", False), ("ask", True)]:
        stop = rejections.note(rejected._replace(stage=stage))
        assert (stop is not None) is stops
    assert "none of the stage ask" in str(stop)


def test_rejections_by_an_endpoint_that_has_answered_are_about_their_requests(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        good = body["messages"][0]["content"] == "good"
        return Reply.of(200, completion(A)) if good else Reply.of(400, {"error": {"message": "bad picture"}})

    outcomes, bodies = ask(tmp_path, reply, "good", *"abcdefgh", max_rejections=3)
    assert [type(outcome) for outcome in outcomes[1:]] == [errors.BadRequest] * 8
    assert not any(isinstance(outcome, errors.ApiError) and outcome.retryable for outcome in outcomes)
    assert len(bodies) == 9


def test_a_403_after_an_answer_is_about_its_request_until_there_are_many_in_a_row(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        good = body["messages"][0]["content"].startswith("good")
        return Reply.of(200, completion(A)) if good else Reply.of(403, {"error": {"message": "no"}})

    outcomes, _ = ask(tmp_path / "a", reply, "good", "a", "good 2", "b", "good 3")
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "ChatReply", "Forbidden", "ChatReply", "Forbidden", "ChatReply"
    ]  # fmt: skip
    outcomes, bodies = ask(tmp_path / "b", reply, "good", *"abcdefghijkl")
    assert isinstance(outcomes[-1], errors.AuthFailed)
    assert len(bodies) <= 12
    outcomes, bodies = ask(tmp_path / "c", reply, *"abc")
    assert [type(outcome) for outcome in outcomes] == [errors.AuthFailed] * 3
    assert len(bodies) == 1
