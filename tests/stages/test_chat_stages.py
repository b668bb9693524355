"""The stages that ask, each alone on plain rows, against a real endpoint over HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from lvqa_ray.errors import ParseFault
from lvqa_ray.qa.formats.text_format import parse_question
from lvqa_ray.records import (
    CaptionedClip,
    CaptionedVideo,
    Clip,
    Failure,
    Frame,
    QuestionedVideo,
    Span,
    Turn,
    Video,
    VideoInfo,
)
from lvqa_ray.stage import Chat
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.caption import CaptionClips
from lvqa_ray.stages.merge import MergeCaptions
from lvqa_ray.stages.reformat import ReformatReasoning
from tests.fakes.answers import media_urls
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault, Status

Go = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def go() -> Iterator[Go]:
    """Runs coroutines on one loop, to which the client's connections belong."""
    with asyncio.Runner() as runner:
        yield runner.run


JPEG = simplejpeg.encode_jpeg(np.full((64, 128, 3), 90, np.uint8), 85, "RGB", "420")
VIDEO = Video(id="v", uri="/v.mp4", fingerprint="f")
ONE = {"goal": 1}
INFO = VideoInfo(num_frames=500, height=90, width=160, fps=25, duration_sec=20)


def clip(index: int, video: Video = VIDEO, **changes: Any) -> Clip:
    span = Span(start_s=10.0 * index, end_s=10.0 * index + 10)
    shown = {"frames": (Frame(time_s=10.0 * index + 5, jpeg=JPEG),)} | changes
    return Clip(video=video, info=INFO, index=index, span=span, last=index == 1, identity="i", **shown)


def captioned(index: int, caption: str = "A dog runs.", **changes: Any) -> CaptionedClip:
    return CaptionedClip(clip=clip(index), caption=caption, **changes)


def failure(retryable: bool) -> Failure:
    return Failure(video=VIDEO, clip_id="v_1", stage="caption", kind="k", message="why", retryable=retryable)


def film() -> CaptionedVideo:
    (row,) = MergeCaptions()([captioned(0), captioned(1, "The dog\nsleeps.")])
    assert isinstance(row, CaptionedVideo)
    return row


def sent(fake: FakeEndpoint, number: int = -1) -> Any:
    return fake.requests[number].body["messages"][-1]["content"]


def test_a_caption_request_holds_prompt_times_and_pictures(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    (row,) = go(CaptionClips()(clip(1), chat))
    assert row.caption
    assert row.clip.frames == ()
    assert (row.usage.calls, row.usage.cached) == (1, 0)
    prompt, label, picture = sent(fake)
    golden = Path(__file__).parent / "golden" / "caption.txt"
    assert f"{CaptionClips.version}\n\n{prompt['text']}\n" == golden.read_text(), "who changes it counts the version up"
    assert label["text"] == "Frame at 15.00 s:"
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("<video>\nName the colours.", "Name the colours."), ("", "You see one"), ("<video>", "You")],
)
def test_the_input_may_bring_its_own_prompt(go: Go, chat: Chat, fake: FakeEndpoint, value: str, expected: str) -> None:
    video = Video(id="v", uri="/v.mp4", fingerprint="f", conversation=(Turn(speaker="human", value=value),))
    go(CaptionClips()(clip(0, video), chat))
    assert sent(fake)[0]["text"].startswith(expected)


def test_a_clip_can_be_shown_as_video(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    shown = clip(0, media=b"mp4", media_path="x.mp4", media_span=Span(start_s=0, end_s=11))
    go(CaptionClips(media="video")(Clip(**{**vars_of(shown), "frames": ()}), chat))
    _, label, media = sent(fake)
    assert "from 0.00 s to 11.00 s" in label["text"]
    assert media["video_url"]["url"].startswith("data:video/mp4;base64,")


def vars_of(row: Clip) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.NULL_CONTENT, Fault.CONTENT_FILTER, Fault.LENGTH])
def test_an_error_never_becomes_a_caption(go: Go, chat: Chat, fake: FakeEndpoint, fault: Fault) -> None:
    fake.fail_next(fault, times=5)
    (row,) = go(CaptionClips()(clip(0), chat))
    assert row.caption == ""
    assert row.failure is not None
    assert row.failure.clip_id == "v_0"


def test_a_draft_is_no_caption(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = lambda _: "<think>Let me see</think> A red street."
    (row,) = go(CaptionClips()(clip(0), chat))
    assert row.caption == "A red street."
    fake.answer = lambda _: "<think>Let me see, and so on without an end"
    (row,) = go(CaptionClips()(clip(1), chat))
    assert row.caption == ""
    assert row.failure is not None
    assert row.failure.kind == "empty_reply"


def pictures(count: int) -> tuple[Frame, ...]:
    return tuple(Frame(time_s=float(n), jpeg=JPEG) for n in range(count))


@pytest.mark.parametrize(
    ("refusals", "expected"),
    [
        (0, (8, 64, "")),
        (1, (4, 64, "too long for the model: shown 4 of 8 frames")),
        (3, (2, 32, "too long for the model: shown 2 of 8 frames, with sides divided by 2")),
    ],
)
def test_a_request_that_is_too_long_is_made_shorter_and_that_is_noted(
    go: Go, chat: Chat, fake: FakeEndpoint, refusals: int, expected: tuple[int, int, str]
) -> None:
    shown, side, note = expected
    fake.fail_next(Status(400, "context_length_exceeded"), times=refusals)
    (row,) = go(CaptionClips()(clip(0, frames=pictures(8)), chat))
    assert (bool(row.caption), row.failure, row.note) == (True, None, note)
    urls = media_urls(fake.requests[-1].body)
    assert len(urls) == shown
    height, width, *_ = simplejpeg.decode_jpeg_header(base64.b64decode(urls[0].partition(",")[2]))
    assert (height, width) == (side, 2 * side)
    assert len(fake.requests) == refusals + 1
    again = CaptionClips().request(clip(0, frames=pictures(8)), shown, 64 // side)
    assert go(chat(again)).usage.cached == 1


def test_a_request_that_stays_too_long_is_a_failure(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    fake.fail_next(Status(413), times=20)
    (row,) = go(CaptionClips()(clip(0, frames=pictures(8)), chat))
    assert (row.failure.kind, row.failure.retryable) == ("too_long", False)
    assert len(fake.requests) == 5
    (row,) = go(CaptionClips()(clip(1, frames=pictures(1)), chat))
    assert row.failure.kind == "too_long"
    assert len(fake.requests) == 8


def test_a_caption_that_was_cut_off_is_asked_for_with_twice_the_tokens(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    fake.fail_next(Fault.LENGTH)
    (row,) = go(CaptionClips(max_tokens=50)(clip(0), chat))
    assert row.failure is None
    assert [request.body["max_tokens"] for request in fake.requests] == [50, 100]
    assert (row.usage.calls, row.usage.input_tokens, row.usage.output_tokens) == (2, fake.tokens_in, fake.tokens_out)
    again = go(CaptionClips(max_tokens=50)(clip(0), chat))[0]
    assert (again.caption, again.usage.cached, len(fake.requests)) == (row.caption, 2, 2)


def test_captions_are_merged_in_time_order_one_line_each() -> None:
    (row,) = MergeCaptions()([captioned(1, "The dog\nsleeps."), captioned(0)])
    assert isinstance(row, CaptionedVideo)
    assert row.captions == "From 0 to 10, a dog runs.\nFrom 10 to 20, the dog sleeps."
    assert row.num_clips == 2


@pytest.mark.parametrize(
    ("clips", "kind", "retryable"),
    [
        ([captioned(0), captioned(1, "", failure=failure(retryable=True))], "k", True),
        ([captioned(0), captioned(1, "", failure=failure(retryable=False))], "k", False),
        ([CaptionedClip(clip=clip(0, dropped="fps_min"))], "all_clips_filtered", False),
        ([captioned(0, " ")], "empty_captions", False),
    ],
)
def test_too_few_captions_fail_the_video(clips: list[CaptionedClip], kind: str, retryable: bool) -> None:
    (row,) = MergeCaptions()(clips)
    assert isinstance(row, Failure)
    assert (row.kind, row.retryable) == (kind, retryable)


def test_a_gap_that_will_stay_is_left_out_where_the_share_allows_it() -> None:
    (row,) = MergeCaptions(min_captioned=0.5)([captioned(0), captioned(1, "", failure=failure(retryable=False))])
    assert isinstance(row, CaptionedVideo)
    assert row.num_clips == 1
    assert row.clips[1].failure is not None


def test_a_question_is_asked_and_parsed(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    (row,) = go(AskQuestions(quota=ONE)(film(), chat))
    assert isinstance(row, QuestionedVideo)
    (asked,) = row.questions
    assert (asked.id, asked.category) == ("v_q0", "goal")
    assert asked.question == parse_question(asked.reasoning)
    assert "From 10 to 20, the dog sleeps." in str(sent(fake))


def test_a_reply_that_does_not_parse_is_sent_back_once_with_the_error(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    fake.fail_next(Fault.BAD_QUESTION)
    (row,) = go(AskQuestions(quota=ONE)(film(), chat))
    assert isinstance(row, QuestionedVideo)
    roles = [message["role"] for message in fake.requests[-1].body["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert "cannot be used" in sent(fake)
    assert row.usage.calls == 2


def test_replies_that_never_parse_are_a_failure_with_the_reply(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = lambda _: "I cannot help with that."
    (row,) = go(AskQuestions(quota=ONE)(film(), chat))
    assert isinstance(row, Failure)
    assert row.kind in set(ParseFault)
    assert row.raw == "I cannot help with that."
    assert (row.attempts, row.retryable) == (4, False)
    assert len(fake.requests) == 4


def test_a_question_can_come_as_json(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    (row,) = go(AskQuestions(quota=ONE, reply_format="json_schema")(film(), chat))
    (text,) = go(AskQuestions(quota=ONE)(film(), chat))
    assert isinstance(row, QuestionedVideo)
    assert isinstance(text, QuestionedVideo)
    assert parse_question(row.questions[0].reasoning) == row.questions[0].question
    assert (row.questions[0].question.steps, row.note) == (text.questions[0].question.steps, "")
    held_to = fake.requests[0].body["response_format"]["json_schema"]
    assert (held_to["strict"], held_to["schema"]["additionalProperties"]) == (True, False)
    assert "one JSON object" in str(sent(fake, 0))
    assert "QUESTION:" not in str(sent(fake, 0))
    assert "response_format" not in fake.requests[1].body


def test_json_that_cannot_be_read_is_sent_back_with_the_error(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    fake.fail_next(Fault.BAD_QUESTION)
    (row,) = go(AskQuestions(quota=ONE, reply_format="json_schema")(film(), chat))
    assert isinstance(row, QuestionedVideo)
    assert "answer: Field required" in sent(fake)
    fake.answer = lambda _: '{"question": "Why?", '
    (lost,) = go(AskQuestions(quota=ONE, reply_format="json_schema", system="Hm.")(film(), chat))
    assert isinstance(lost, Failure)
    assert (lost.kind, lost.raw, lost.attempts) == ("bad_json", '{"question": "Why?", ', 4)


def test_an_endpoint_without_schemas_is_asked_for_text_and_that_is_noted(
    go: Go, chat: Chat, fake: FakeEndpoint
) -> None:
    fake.fail_next(Status(400))
    stage = AskQuestions(quota=ONE, reply_format="json_schema")
    for attempt in ("first", "second"):
        (row,) = go(replace(stage, system=attempt)(film(), chat))
        assert isinstance(row, QuestionedVideo)
        assert row.note == "the endpoint takes no JSON schema: asked for text"
    assert ["response_format" in request.body for request in fake.requests] == [True, False, False]
    (finished,) = go(ReformatReasoning()(row, chat))
    assert finished.records[0].note == row.note


def test_a_call_that_fails_is_a_failure_and_not_a_lost_row(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    fake.fail_next(Fault.UNAVAILABLE, times=9)
    (row,) = go(AskQuestions(quota=ONE)(film(), chat))
    assert isinstance(row, Failure)
    assert (row.stage, row.kind, row.retryable) == ("ask", "overloaded", True)


def test_a_record_holds_the_turn_that_was_sent(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    (asked,) = go(AskQuestions(quota=ONE)(film(), chat))
    assert isinstance(asked, QuestionedVideo)
    (finished,) = go(ReformatReasoning()(asked, chat))
    (row,) = finished.records
    assert sent(fake) == row.prompt
    assert "Start thinking." in row.prompt
    assert "{" not in row.prompt
    assert row.full_question.startswith(row.question.question)
    assert set(row.usage) == {"caption", "ask", "reformat"}


def test_an_error_never_becomes_the_reasoning(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    (asked,) = go(AskQuestions(quota=ONE)(film(), chat))
    fake.fail_next(Fault.SERVER_ERROR, times=9)
    (row,) = go(ReformatReasoning()(asked, chat))
    assert isinstance(row, Failure)
    assert row.stage == "reformat"
