"""The watch check: answers from the pixels of generated films, whose share of right answers is known before."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from lvqa_ray.demo.captions import Film
from lvqa_ray.demo.chat_reply import complete
from lvqa_ray.demo.keyed_writer import write_keyed
from lvqa_ray.demo.pictures import describe, open_picture
from lvqa_ray.demo.question_writer import write
from lvqa_ray.errors import Bill, EmptyReply, NotFound
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import DEMO_MODEL, Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Text
from lvqa_ray.llm.replies.cleaning import cleaned
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.repeated_answers import RepeatedAnswers, shuffled
from lvqa_ray.records import (
    LETTERS,
    AskedQuestion,
    CaptionedVideo,
    Clip,
    Failure,
    FinishedVideo,
    Frame,
    KeyedQuestion,
    Kind,
    OpenKey,
    OrderKey,
    Question,
    QuestionedVideo,
    Span,
    Usage,
    Verdict,
    Video,
)
from lvqa_ray.records.question_columns import answer_value
from lvqa_ray.records.questions import best_trace, caption_fault
from lvqa_ray.rewards import reward
from lvqa_ray.stage import Chat
from lvqa_ray.stages.checks.prose import CheckProse
from lvqa_ray.stages.checks.solve import CheckSolve
from lvqa_ray.stages.checks.watch import CheckWatch
from lvqa_ray.stages.probe import ProbeVideo
from lvqa_ray.stages.reformat import ReformatReasoning
from lvqa_ray.stages.sample import SampleFrames
from tests import media
from tests.fakes.answers import media_urls, text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault
from tests.stages.test_checks import SOUND, asked
from tests.stages.test_checks import film as film_of

SAMPLE = SampleFrames(short_side=64)
KINDS: tuple[Kind, ...] = ("span", "number", "open", "order")
CUTS = (2.0, 4.0, 6.0, 8.0, 10.0)
THINKING: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> QuestionedVideo:
    """A generated film of six scenes, with questions about it that were written from exact captions."""
    path = media.make_video(tmp_path_factory.mktemp("watch") / "film.mp4", seconds=12.0, scenes=CUTS, static=True)
    video = Video(id="film", uri=str(path), fingerprint="f1")
    (probed,) = ProbeVideo()(video)
    assert not isinstance(probed, Failure)
    sampler = replace(SAMPLE, count=24)
    (clip,) = sampler(Clip(video=video, info=probed.info, index=0, span=_span(12.0), last=True))
    shots = describe([open_picture(frame.jpeg, f"{frame.time_s:.2f} s") for frame in clip.frames]).shots  # type: ignore[union-attr]
    lines = [f"From {2 * n} to {2 * n + 2}, {shot.look.clause}." for n, shot in enumerate(shots)]
    assert len(Film.read("\n".join(lines)).seen) == len(CUTS) + 1
    questions = write("\n".join(lines), 4)
    film = CaptionedVideo(video=video, info=probed.info, clips=(), captions="\n".join(lines), num_clips=len(lines))
    rows = tuple(
        AskedQuestion(id=f"film_q{n}", category="temporal", question=q, reasoning="") for n, q in enumerate(questions)
    )
    assert len(rows) == 4
    return QuestionedVideo(film=film, questions=rows)


def _span(seconds: float) -> Any:

    return Span(start_s=0.0, end_s=seconds)


def demo_with(**body: Any) -> Chat:
    """A client of the demo endpoint with further fields of the body."""
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model=DEMO_MODEL, api_key_env=None, extra_body=body)
    transport = OpenAITransport(endpoint, SecretStr(""))

    async def chat(request: ChatRequest) -> ChatReply:
        return cleaned(transport._reply(complete(json.dumps(transport._body(request)).encode())))

    return chat


def watched(check: CheckWatch, row: QuestionedVideo, chat: Chat) -> QuestionedVideo:
    (shown,) = check.show(row, replace(SAMPLE, count=check.frames))
    assert isinstance(shown, QuestionedVideo)
    (done,) = asyncio.run(check(shown, chat))
    assert isinstance(done, QuestionedVideo)
    assert done.shown == ()
    return done


def key_of(row: QuestionedVideo) -> str:
    """The key of the first question, which is multiple choice."""
    question = row.questions[0].question
    assert isinstance(question, Question)
    return question.answer


def keyed(seen: QuestionedVideo) -> QuestionedVideo:
    """Questions of the kinds without options about the same film: keys from its captions, and one of its order."""
    written = [q for kind in KINDS[:3] for q in write_keyed(seen.film.captions, kind)]
    steps = written[0].steps
    looks = [line.partition(", ")[2].capitalize() for line in seen.film.captions.splitlines()]
    key = OrderKey(items=(looks[2], looks[4], looks[0]), order=(3, 1, 2))
    order = KeyedQuestion(question="In which order does the film show these moments?", key=key, steps=steps)
    return replace(
        seen,
        questions=tuple(
            AskedQuestion(id=f"film_q{n}", category="temporal", question=q, reasoning="")
            for n, q in enumerate([*written, order])
        ),
    )


def scores(row: QuestionedVideo) -> list[float | None]:
    return [one.verdicts[-1].score for one in row.questions]


def test_with_enough_frames_every_attempt_is_right(seen: QuestionedVideo) -> None:
    done = watched(CheckWatch(policy="drop", frames=24), seen, demo_with())
    assert scores(done) == [1.0] * 4
    (trace, *_) = done.questions[0].verdicts[-1].traces
    assert (len(trace.times), trace.times[0], trace.media, trace.correct) == (24, 0.25, "frames", True)
    assert trace.question.startswith(done.questions[0].question.question)
    assert trace.answer == key_of(done)
    assert "So this is it" in trace.reasoning


def test_every_kind_is_answered_from_the_pixels(seen: QuestionedVideo) -> None:
    row = keyed(seen)
    done = watched(CheckWatch(policy="mark", frames=24), row, demo_with())
    assert [one.question.kind for one in done.questions] == list(KINDS)
    assert scores(done) == [1.0] * 4
    for one in done.questions:
        (trace, *others) = one.verdicts[-1].traces
        assert (len(others), trace.order, trace.read, trace.media) == (3, "", True, "frames")
        assert trace.question == full_question(one.question)
        record = {"kind": one.question.kind, "typed_answer": answer_value(one.question)}
        graded = reward(f"<answer>{trace.answer}</answer>", record)
        assert graded >= 0.5
        assert trace.correct is (True if graded == 1 else None)
        assert (best_trace(one.verdicts) is not None) == any(each.correct for each in (trace, *others))
    blinkered = watched(CheckWatch(policy="drop", frames=1), row, demo_with())
    assert {drop.id for drop in blinkered.drops} >= {"film_q0"}, "one frame shows no span of the film"


@pytest.mark.parametrize("source", ["watch", "solve"])
def test_an_answer_that_is_not_exactly_the_key_counts_and_teaches_nothing(seen: QuestionedVideo, source: str) -> None:
    said = ["blue car", "red bicycle", "dog", "The red car."]
    correct = [None, None, False, True]

    async def chat(request: ChatRequest) -> ChatReply:
        text = f"I see the {said[request.attempt]}.\nANSWER: {said[request.attempt]}"
        return ChatReply(text=text, usage=Usage(calls=1), model="m")

    asked = replace(
        seen.questions[0], question=KeyedQuestion(question="What drives by?", key=OpenKey(text="red car"), steps=())
    )
    row = replace(seen, questions=(asked,))

    def verdict(tries: int) -> Verdict:
        if source == "watch":
            done = watched(CheckWatch(policy="mark", frames=2, tries=tries, stop_early=False), row, chat)
            return done.questions[0].verdicts[-1]
        return asyncio.run(CheckSolve(policy="mark", tries=tries).judge(asked, row, chat))

    assert (verdict(4).score, verdict(2).score) == (0.75, 1.0), "the rate counts what is nearly the key"
    assert [trace.correct for trace in verdict(4).traces] == correct
    if source == "watch":
        assert best_trace([verdict(3)]) is None
        best = best_trace([verdict(4)])
        assert best is not None
        assert best.answer == "The red car."


@pytest.mark.parametrize(
    ("said", "score", "answer"), [("3, 1, 2", 1.0, "3, 1, 2"), ("3, 2, 1", 0.0, "3, 2, 1"), ("none", 0.0, None)]
)
@pytest.mark.parametrize("stop_early", [False, True])
def test_an_order_is_graded_like_that_of_solve(
    seen: QuestionedVideo, said: str, score: float, answer: str | None, stop_early: bool
) -> None:
    asked_of: list[ChatRequest] = []

    async def chat(request: ChatRequest) -> ChatReply:
        asked_of.append(request)
        return ChatReply(text=f"Let me see.\nANSWER: {said}", usage=Usage(calls=1), thoughts="First B.", model="m")

    row = keyed(seen)
    done = watched(
        CheckWatch(policy="mark", frames=2, tries=3, stop_early=stop_early, most=1.0),
        replace(row, questions=row.questions[3:]),
        chat,
    )
    (verdict,) = done.questions[0].verdicts
    assert (verdict.score, verdict.passed, verdict.reason == "") == (score, score > 0, score > 0)
    assert {trace.answer for trace in verdict.traces} == {answer}
    assert len(asked_of) == (1 if stop_early and score else 3)
    assert "multiple-choice" not in "".join(
        part.text for part in asked_of[0].messages[-1].parts if isinstance(part, Text)
    )
    assert len({request.attempt for request in asked_of}) == len(asked_of), "attempts are numbered in the cache key"


def test_with_too_few_frames_it_guesses_and_the_question_is_dropped_or_marked(seen: QuestionedVideo) -> None:
    """One frame shows one scene; a question about the others is a guess, which the order of options decides."""
    done = watched(CheckWatch(policy="mark", frames=1, tries=8), seen, demo_with())
    again = watched(CheckWatch(policy="mark", frames=1, tries=8), seen, demo_with())
    assert scores(done) == scores(again), "known before"
    guessed = [score for score in scores(done) if score is not None and score < 1]
    assert len(guessed) >= 2, "what one frame tells, it knows"
    strict = watched(CheckWatch(policy="drop", frames=1, tries=8, least=0.9), seen, demo_with())
    assert [drop.check for drop in strict.drops] == ["watch"] * len(guessed)
    assert "of 8 answers from the film are its key" in strict.drops[0].reason


def test_frames_of_cited_spans_come_between_those_of_the_film(seen: QuestionedVideo) -> None:
    sent: list[ChatRequest] = []

    async def chat(request: ChatRequest) -> ChatReply:
        sent.append(request)
        return ChatReply(text="ANSWER: A", model="m", usage=Usage(calls=1))

    one = replace(seen, questions=seen.questions[:1])
    watched(CheckWatch(policy="mark", frames=6, cited_frames=2, tries=1), one, chat)
    times = sent[0].facts["times"]
    steps = {step.span for step in one.questions[0].question.steps}
    assert isinstance(times, list)
    assert len(times) == 6 + 2 * len(steps)
    assert times == sorted(times)  # type: ignore[type-var]
    pictures = [part for part in sent[0].messages[0].parts if isinstance(part, Media)]
    assert all(part.data[:2] == b"\xff\xd8" for part in pictures)
    assert len({part.identity for part in pictures}) == len(pictures)
    assert isinstance(sent[0].messages[0].parts[-1], Text), "the media come first, so endpoints can cache them"


def test_the_whole_film_can_be_sent_as_a_video(seen: QuestionedVideo) -> None:
    done = watched(CheckWatch(policy="mark", media="video", frames=1, tries=2), seen, demo_with())
    assert all(score is not None for score in scores(done))
    assert {trace.media for one in done.questions for trace in one.verdicts[-1].traces} == {"video"}
    large = watched(CheckWatch(policy="mark", media="video", frames=1, video_mb=0.0001), seen, demo_with())
    reason = large.questions[0].verdicts[-1].reason
    assert "could not be checked" in reason
    assert "checks.watch.video_mb is 0.0001: raise it" in reason


@pytest.mark.parametrize("form", ["reasoning", "reasoning_content", "tags", "parts"])
def test_thoughts_arrive_in_each_form(seen: QuestionedVideo, form: str) -> None:
    one = replace(seen, questions=seen.questions[:1])
    done = watched(CheckWatch(policy="mark", frames=24, tries=1), one, demo_with(**THINKING, thoughts_form=form))
    (trace,) = done.questions[0].verdicts[-1].traces
    assert trace.thoughts.startswith("At 0.25 s the picture is ")
    assert trace.text == f"ANSWER: {key_of(done)}"
    assert trace.correct


def test_traces_of_the_demo_can_be_rewritten_and_pass_the_check_of_the_prose(seen: QuestionedVideo) -> None:
    done = watched(CheckWatch(policy="mark", frames=24), seen, demo_with(**THINKING))
    (finished,) = asyncio.run(ReformatReasoning(source="trace")(done, demo_with(), CheckProse()))
    assert isinstance(finished, FinishedVideo)
    for record in finished.records:
        assert record.verdicts[-1].passed, record.verdicts[-1].reason
        assert "So this is it" in record.reformatted_reasoning
        assert record.note == ""


ROW = QuestionedVideo(
    film=film_of(),
    questions=(asked(),),
    shown=(Clip(video=film_of().video, info=film_of().info, index=0, span=_span(30.0), last=True,
                frames=(Frame(time_s=1.0, jpeg=b"\xff\xd8"), Frame(time_s=2.0, jpeg=b"\xff\xd8")), identity="i"),),
)  # fmt: skip


def judged(check: CheckWatch, chat: Chat, row: QuestionedVideo = ROW) -> Verdict:
    return asyncio.run(check.judge(row.questions[0], row, chat))


def test_each_attempt_has_its_own_order_and_its_own_key_and_is_paid_once(chat: Chat, fake: FakeEndpoint) -> None:
    check = CheckWatch(policy="mark", tries=9)
    first, second = judged(check, chat), judged(check, chat)
    assert (first.usage.calls, first.usage.cached, second.usage.cached) == (9, 0, 9)
    assert first.traces == tuple(
        replace(one, usage=two.usage) for one, two in zip(second.traces, first.traces, strict=True)
    )
    assert [trace.attempt for trace in first.traces] == list(range(9))
    assert len(fake.requests) == 9
    assert max(fake.paid.values()) <= 3, "the same prompt is sent with another number"
    orders = [trace.order for trace in first.traces]
    places = [order.index(SOUND.answer) for order in orders[:4]]
    assert sorted(places) == [0, 1, 2, 3], "the key is in every place once"
    assert all(request.body["temperature"] == 0.7 for request in fake.requests)
    assert "a dog runs" not in text_of(fake.requests[0].body), "it sees no captions"
    assert len(media_urls(fake.requests[0].body)) == 2


def test_attempts_are_numbered_in_the_cache_key() -> None:
    keys: set[str] = set()
    endpoint = Endpoint(base_url="http://h/v1", model="m", api_key_env=None)

    async def chat(request: ChatRequest) -> ChatReply:
        keys.add(cache_key(endpoint, request))
        return ChatReply(text="ANSWER: A", model="m", usage=Usage(calls=1))

    judged(CheckWatch(policy="mark", tries=24), chat)
    assert len(keys) == 24


def answering(*replies: str) -> tuple[Chat, list[int]]:
    """A model whose attempts are right (+), wrong (-) or unreadable (?), and the numbers that were asked."""
    numbers: list[int] = []

    async def chat(request: ChatRequest) -> ChatReply:
        numbers.append(request.attempt)
        order = shuffled(SOUND, request.attempt)
        right = LETTERS[order.index(SOUND.answer)]
        wrong = next(letter for letter in LETTERS if letter != right)
        text = {"+": f"ANSWER: {right}", "-": f"ANSWER: {wrong}", "?": "hm"}[replies[request.attempt]]
        return ChatReply(text=text, model="m", usage=Usage(calls=1))

    return chat, numbers


@pytest.mark.parametrize(
    ("replies", "bounds", "asked_for", "passed"),
    [
        ("++++++++", {}, 1, True),  # greater than 0 after one
        ("--------", {}, 8, False),
        ("---+----", {}, 4, True),
        ("++++++++", {"least": 0.5}, 5, True),
        ("-----+++", {"least": 0.5}, 4, False),
        ("++++++++", {"most": 0.5}, 5, False),
        ("????+---", {}, 8, None),
    ],
)
def test_it_stops_when_the_bounds_are_decided(
    replies: str, bounds: dict[str, float], asked_for: int, *, passed: bool | None
) -> None:
    chat, numbers = answering(*replies)
    verdict = judged(CheckWatch(policy="mark", tries=8, stop_early=True, **bounds), chat)  # type: ignore[arg-type]
    whole = judged(CheckWatch(policy="mark", tries=8, **bounds), answering(*replies)[0])  # type: ignore[arg-type]
    assert len(numbers) == asked_for if passed is not None else len(numbers) <= asked_for
    assert numbers == list(range(len(numbers)))
    if passed is not None:
        assert verdict.passed is whole.passed is passed, "and the outcome is that of all attempts"


def test_an_attempt_that_was_cut_off_is_unreadable_and_the_others_count(chat: Chat, fake: FakeEndpoint) -> None:
    fake.fail_next(Fault.LENGTH)
    verdict = judged(CheckWatch(policy="mark", tries=4), chat)
    assert (verdict.tries, verdict.usage.calls) == (3, 4)
    (cut,) = [trace for trace in verdict.traces if trace.error]
    assert (cut.error, cut.read, cut.correct, cut.usage.calls) == ("truncated_reply", False, False, 1)


def test_thoughts_alone_are_an_empty_reply(seen: QuestionedVideo) -> None:
    async def chat(_: ChatRequest) -> ChatReply:
        return cleaned(ChatReply(text="<think>so many", model="m", usage=Usage(calls=1, output_tokens=9)))

    verdict = judged(CheckWatch(policy="mark", tries=2), chat)
    assert not verdict.passed
    assert verdict.score is None
    assert verdict.reason.startswith("it could not be checked")
    assert [(trace.error, trace.thoughts, trace.usage.output_tokens) for trace in verdict.traces] == [
        ("empty_reply", "so many", 9)
    ] * 2


@pytest.mark.parametrize("empty", [1, 4])
def test_an_endpoint_that_only_thinks_fails_the_video_and_a_single_such_reply_does_not(empty: int) -> None:
    async def chat(request: ChatRequest) -> ChatReply:
        if request.attempt < empty:
            error = EmptyReply("It holds a draft and no answer.")
            error.bill = Bill(5, 7, None)
            raise error
        return ChatReply(text="ANSWER: A", model="m", usage=Usage(calls=1))

    (done,) = asyncio.run(CheckWatch(policy="mark", tries=4)(ROW, chat))
    if empty == 4:
        assert isinstance(done, Failure)
        assert (done.stage, done.kind, done.retryable) == ("watch", "empty_reply", True)
        return
    assert isinstance(done, QuestionedVideo)
    verdict = done.questions[0].verdicts[-1]
    assert (verdict.tries, verdict.usage.calls, verdict.usage.output_tokens) == (3, 4, 7)
    assert [trace.error for trace in verdict.traces] == ["empty_reply", "", "", ""]


def test_a_wrong_key_of_the_account_stops_the_run() -> None:
    async def chat(_: ChatRequest) -> ChatReply:
        raise NotFound("There is no such model.")

    with pytest.raises(NotFound):
        judged(CheckWatch(policy="mark"), chat)


@pytest.mark.parametrize(
    ("solve", "watch", "fault"),
    [(1.0, 0.0, True), (1.0, 0.25, False), (0.5, 0.0, False), (None, 0.0, None), (1.0, None, None)],
)
def test_captions_that_lead_where_frames_never_do_are_suspected(
    solve: float | None, watch: float | None, fault: bool | None
) -> None:
    verdicts = [Verdict(check="solve", passed=True, score=solve), Verdict(check="watch", passed=True, score=watch)]
    assert caption_fault(verdicts) is fault
    chat, _ = answering("-", "-")
    told = replace(asked(), verdicts=(Verdict(check="solve", passed=True, score=1.0),))
    reason = judged(CheckWatch(policy="mark", tries=2), chat, replace(ROW, questions=(told,))).reason
    assert (
        reason
        == "0 of 2 answers from the film are its key, and 100% of those from the captions: the captions may be wrong"
    )


def test_bounds_of_the_rate() -> None:
    assert RepeatedAnswers(4, 4, 2, Usage()).bounds(4) == (0.25, 0.75)
    assert RepeatedAnswers(0, 0, 0, Usage()).bounds(2) == (0.0, 1.0)


@pytest.mark.parametrize("given", [{"least": 0.5, "most": 0.5}, {"frames": 2, "cited_frames": 3}])
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"least must be less than most|cited_frames must not exceed"):
        CheckWatch(**given)


def test_a_question_is_shown_in_any_order_with_its_key() -> None:
    q = Question(question="?", options=SOUND.options, answer="B", steps=())
    assert {shuffled(q, n) for n in range(4)} == {shuffled(q, n) for n in range(4, 8)}
    assert len({shuffled(q, n) for n in range(4)}) == 4
