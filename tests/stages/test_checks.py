"""Each defect, planted at a known rate, is caught at its rate and by its check; sound questions pass all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from lvqa_ray.config import Checks
from lvqa_ray.demo.question_writer import write
from lvqa_ray.qa.formats.text_format import parse_question
from lvqa_ray.records import (
    AskedQuestion,
    CaptionedClip,
    CaptionedVideo,
    Clip,
    Question,
    QuestionedVideo,
    ReasoningStep,
    Span,
    Verdict,
    Video,
    VideoInfo,
)
from lvqa_ray.stage import Chat, Check
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.checks.duplicates import CheckDuplicates, corpus_text
from lvqa_ray.stages.checks.grounding import CheckGrounding
from lvqa_ray.stages.checks.structure import CheckStructure
from lvqa_ray.stages.merge import MergeCaptions
from tests.demo.test_questions import long_film, merged
from tests.fakes import answers
from tests.fakes.characters import Habit, Writer
from tests.fakes.endpoint import FakeEndpoint


def film(name: str = "v", captions: Sequence[str] = ("A dog runs.",) * 3, *, length_s: float = 10.0) -> CaptionedVideo:
    """A film of clips of equal length; an empty caption is a gap."""
    video = Video(id=name, uri=f"/{name}.mp4", fingerprint="f")
    info = VideoInfo(num_frames=100, height=90, width=160, fps=25, duration_sec=length_s * len(captions))
    spans = [Span(start_s=n * length_s, end_s=(n + 1) * length_s) for n in range(len(captions))]
    clips = [
        CaptionedClip(
            clip=Clip(video=video, info=info, index=n, span=span, last=n == len(spans) - 1), caption=captions[n]
        )
        for n, span in enumerate(spans)
    ]
    (made,) = MergeCaptions(min_captioned=0.1)(clips)
    assert isinstance(made, CaptionedVideo)
    return made


SOUND = Question(
    question="Why does the woman go back into the house?",
    options={
        "A": "To fetch the keys that she left on the table",
        "B": "To close the window before the rain begins",
        "C": "To take the dog out of the locked kitchen",
        "D": "To tell her brother that the car is gone",
    },
    answer="C",
    steps=(
        ReasoningStep(timestamp="0 to 10", start_s=0, end_s=10, reasons=("She shuts the kitchen with the dog inside",)),
        ReasoningStep(
            timestamp="20 to 30", start_s=20, end_s=30, reasons=("She comes out with the dog", "So the answer is C")
        ),
    ),
)


def asked(question: Question = SOUND, row_id: str = "v") -> AskedQuestion:
    return AskedQuestion(id=row_id, category="goal", question=question, reasoning="")


def with_stem(stem: str) -> Question:
    return replace(SOUND, question=stem)


def with_options(**options: str) -> Question:
    return replace(SOUND, options={letter: options.get(letter, text) for letter, text in SOUND.options.items()})


def with_span(start_s: float, end_s: float) -> Question:
    last = replace(SOUND.steps[-1], timestamp=f"{start_s:g} to {end_s:g}", start_s=start_s, end_s=end_s)
    return replace(SOUND, steps=(SOUND.steps[0], last))


def verdict(check: Check, question: Question, on: CaptionedVideo | None = None) -> Verdict:
    (row,) = check(QuestionedVideo(film=on or film(), questions=(asked(question),)))
    return (row.questions or row.drops)[0].verdicts[-1]


async def _written(films: Sequence[CaptionedVideo], chat: Chat) -> list[QuestionedVideo]:
    rows = [await AskQuestions(reasks=0, fresh_tries=0)(one, chat) for one in films]
    return [row for (row,) in rows if isinstance(row, QuestionedVideo)]


def checked(row: QuestionedVideo, checks: Checks) -> QuestionedVideo:
    for check in checks.wanted:
        (row,) = check(row)
        assert isinstance(row, QuestionedVideo)
    return row


FILMS = [film(f"f{n}", [answers.caption([f"{n} {clip}"]) for clip in range(8)]) for n in range(40)]
CAUGHT_BY = {
    Habit.SPANS_OUTSIDE: "grounding",
    Habit.REPEATS: "duplicates",
    Habit.FORGETS_AN_OPTION: "ask",
    Habit.GIVES_IT_AWAY: "structure",
    Habit.MENTIONS_CAPTIONS: "structure",
    Habit.NAMES_TIMES: "structure",
    Habit.ALL_OF_THE_ABOVE: "structure",
    Habit.LONG_KEY: "structure",
}


def test_each_defect_is_caught_at_its_rate_by_its_check_and_the_sound_pass(chat: Chat, fake: FakeEndpoint) -> None:
    writer = Writer(dict.fromkeys(CAUGHT_BY, 0.09))
    fake.answer = writer
    rows = [checked(row, Checks()) for row in asyncio.run(_written(FILMS, chat))]
    planted = {f"{video.id}_q{number}": habit for video, number, habit in _by_film(writer)}
    dropped = {drop.id: drop.check for row in rows for drop in row.drops}
    assert dropped == {row_id: CAUGHT_BY[habit] for row_id, habit in planted.items()}
    assert set(planted.values()) == set(CAUGHT_BY)
    assert sum(len(row.questions) for row in rows) == 4 * len(FILMS) - len(planted)
    assert {drop.kind for row in rows for drop in row.drops if drop.check == "ask"} == {"missing_option"}
    verdicts = [one for row in rows for question in row.questions for one in question.verdicts]
    assert all(one.passed or (one.check, one.action) == ("hops", "marked") for one in verdicts)


def _by_film(writer: Writer) -> list[tuple[Video, int, Habit]]:
    films = {one.captions[:200]: one.video for one in FILMS}
    return [(films[start], number, habit) for (start, number), habit in writer.spoiled.items()]


def test_a_key_that_is_always_b_is_everywhere_after_the_shuffle(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = Writer({Habit.ALWAYS_B: 1.0})
    for row in asyncio.run(_written(FILMS, chat)):
        assert [one.choice.answer for one in row.questions] == ["B"] * 4
        moved = checked(row, Checks())
        assert sorted(one.choice.answer for one in moved.questions) == ["A", "B", "C", "D"]
        for before, after in zip(row.questions, moved.questions, strict=True):
            assert after.choice.options[after.choice.answer] == before.choice.options["B"]
            assert after.choice.steps[0].reasons[0].endswith(f"so the answer is {after.choice.answer}")
            assert parse_question(after.reasoning) == after.question


def test_what_the_embedded_endpoint_writes_is_sound() -> None:
    """Honest questions of many films, with stems and options that look alike: no check may take one for a defect."""
    checks = Checks(duplicates=CheckDuplicates(corpus=False))
    written = 0
    for seed in range(60):
        captions = merged(long_film(seed, clips=20))
        lines = [line.partition(", ")[2] for line in captions.splitlines()]
        questions = write(captions, 4)
        rows = tuple(asked(question, f"v_q{n}") for n, question in enumerate(questions))
        row = checked(QuestionedVideo(film=film("v", lines), questions=rows), checks)
        assert row.drops == ()
        assert all(one.passed for question in row.questions for one in question.verdicts)
        written += len(row.questions)
    assert written >= 200


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (with_stem("What do the captions say about the dog?"), "captions"),
        (with_stem("According to the descriptions, why does she go back?"), "descriptions"),
        (with_stem("What happens at 0:12?"), "names a time"),
        (with_stem("What does she do between 10 and 20 seconds?"), "names a time"),
        (with_stem("What is seen in [10 to 20]?"), "names a time"),
        (with_stem("What happens at the 45-second mark?"), "names a time"),
        (with_stem("Does she go back to take the dog out of the locked kitchen, or why?"), "gives its answer away"),
        (
            with_stem("The dog was in the kitchen, locked, and she can take it out: why go back?"),
            "gives its answer away",
        ),
        (with_options(D="All of the above"), "option D is about other options"),
        (with_options(D="None of these"), "option D is about other options"),
        (with_options(A="Both B and C"), "option A is about other options"),
        (with_options(B="To fetch keys that she left on a table!"), "options A and B say the same"),
        (with_options(C="To take out the dog " * 6), "times as long"),
        (with_options(C="Dog"), "0.1 times as long"),
    ],
)
def test_structure_says_what_is_wrong(question: Question, says: str) -> None:
    found = verdict(CheckStructure(), question)
    assert (found.passed, found.action) == (False, "dropped")
    assert says in found.reason


@pytest.mark.parametrize(
    "question",
    [
        SOUND,
        with_stem("What do the closed captions on the television screen announce?"),
        with_stem("After the clock on the wall has struck, how many of the 12 guests are left?"),
        with_stem("After 10 seconds of silence, what does the choir do?"),
        with_stem("How many people are in the room when the second 3 leave?"),
        with_stem("Is it a cat, a dog in a locked kitchen, or the keys that she left on the table?"),
        with_options(A="All of the others leave the old house", B="He answers a call from B. Smith in the hall"),
        replace(SOUND, options={"A": "2", "B": "3", "C": "4", "D": "11"}),
        replace(SOUND, options={"A": "A red car", "B": "A car", "C": "A blue one", "D": "An old green lorry"}),
    ],
)
def test_structure_leaves_the_sound_alone(question: Question) -> None:
    assert verdict(CheckStructure(), question).reason == ""


def test_what_is_asked_for_is_no_fault() -> None:
    assert verdict(CheckStructure(times_in_stem=True), with_stem("What happens at 0:12?")).passed
    assert verdict(CheckStructure(length_ratio=9), with_options(C="Dog " * 15)).passed


@pytest.mark.parametrize(
    ("question", "captions", "says"),
    [
        (with_span(20, 40), ("x",) * 3, "outside the video of 30 s"),
        (with_span(90, 95), ("x",) * 3, "outside the video"),
        (with_span(10, 20), ("x", "", "x"), "was not described"),
        (with_span(5, 25), ("x", "", "x"), "was not described"),
        (replace(SOUND, steps=SOUND.steps[::-1]), ("x",) * 3, "goes back in time"),
        (
            replace(SOUND, steps=(replace(SOUND.steps[0], reasons=("As seen from 0:20 to 0:28, it rains",)),)),
            ("x",) * 3,
            "speaks of 20 to 28 s",
        ),
    ],
)
def test_grounding_says_what_is_wrong(question: Question, captions: tuple[str, ...], says: str) -> None:
    found = verdict(CheckGrounding(), question, film(captions=captions))
    assert (found.passed, found.action) == (False, "dropped")
    assert says in found.reason


@pytest.mark.parametrize(
    ("question", "captions"),
    [
        (SOUND, ("x",) * 3),
        (with_span(20, 31), ("x",) * 3),  # captions are shown with whole seconds
        (with_span(25, 25), ("x",) * 3),
        (with_span(10, 30), ("x", "x", "x")),
        (
            replace(SOUND, steps=(SOUND.steps[1], replace(SOUND.steps[0], reasons=("Earlier it was not so",)))),
            ("x",) * 3,
        ),
        (replace(SOUND, steps=(SOUND.steps[1], replace(SOUND.steps[0], reasons=("Der Hund schläft",)))), ("x",) * 3),
        (replace(SOUND, steps=(replace(SOUND.steps[0], reasons=("For 25 s he waits, at 4 s he goes",)),)), ("x",) * 3),
    ],
)
def test_grounding_leaves_the_sound_alone(question: Question, captions: tuple[str, ...]) -> None:
    assert verdict(CheckGrounding(), question, film(captions=captions)).reason == ""


def test_a_policy_decides_what_becomes_of_a_fault() -> None:
    row = QuestionedVideo(film=film(), questions=(asked(with_span(25, 40)), asked(SOUND, "w")))
    (marked,) = CheckGrounding(policy="mark")(row)
    assert [one.verdicts[0].action for one in marked.questions] == ["marked", ""]
    (mended,) = CheckGrounding(policy="repair")(row)
    assert [one.verdicts[0].action for one in mended.questions] == ["repaired", ""]
    step = mended.questions[0].question.steps[-1]
    assert (step.timestamp, step.start_s, step.end_s) == ("25 to 30", 25, 30)
    assert parse_question(mended.questions[0].reasoning) == mended.questions[0].question
    (left,) = CheckGrounding()(row)
    assert [one.id for one in left.questions] == ["w"]
    (drop,) = left.drops
    assert (drop.check, drop.kind, drop.question) == ("grounding", "grounding", row.questions[0].question)
    hopeless = QuestionedVideo(film=film(), questions=(asked(with_span(90, 95)),))
    (lost,) = CheckGrounding(policy="repair")(hopeless)
    assert (lost.questions, lost.drops[0].verdicts[0].action) == ((), "dropped")
    assert [check.name for check in Checks(grounding=CheckGrounding(policy="off")).wanted] == [
        "structure",
        "duplicates",
        "shuffle",
        "hops",
    ]


def test_a_reference_to_captions_can_be_repaired() -> None:
    row = QuestionedVideo(
        film=film(), questions=(asked(with_stem("According to the captions, why does she go back?")),)
    )
    (mended,) = CheckStructure(policy="repair")(row)
    assert mended.questions[0].question.question == "According to the video, why does she go back?"
    assert mended.questions[0].verdicts[0].action == "repaired"


def test_repeats_over_a_corpus_are_found_whatever_the_order_of_their_options() -> None:
    def text(question: Question) -> str:
        return corpus_text(question.question, question.options)  # type: ignore[arg-type]

    turned = replace(SOUND, options=dict(zip("ABCD", reversed(SOUND.options.values()), strict=True)), answer="B")  # type: ignore[arg-type]
    near = replace(turned, question="Why does the woman go back into her house?")
    other = with_options(A="To feed the cat", B="To look for a coat", C="To post a letter", D="To meet the doctor")
    texts = [("a", text(SOUND)), ("b", text(turned)), ("c", text(other)), ("d", text(near))]
    found = CheckDuplicates().repeated(texts)
    assert {row_id: like for row_id, (like, _) in found.items()} == {"b": "a", "d": "a"}
    assert found["b"][1] == 1.0
    assert set(CheckDuplicates(threshold=1.0).repeated(texts)) == {"b"}


def test_of_many_questions_just_the_planted_repeats_are_found() -> None:
    texts: list[tuple[str, str]] = []
    planted = set()
    for seed in range(60):
        for number, question in enumerate(write(merged(long_film(seed, clips=20)), 4)):
            texts.append((f"{seed:03d}_{number}", corpus_text(question.question, list(question.options.values()))))
            if seed % 10 == 0:
                planted.add(f"z{seed:03d}_{number}")
                texts.append((f"z{seed:03d}_{number}", texts[-1][1].replace(" the ", " that ", 1)))
    exact = _by_comparing_all(texts, CheckDuplicates().threshold)
    found = set(CheckDuplicates().repeated(texts))
    assert {row_id for row_id in planted if row_id[1:] not in found} <= found
    assert len(planted & found) >= 20
    assert len(exact ^ found) <= 0.02 * len(texts)


def _by_comparing_all(texts: Sequence[tuple[str, str]], threshold: float) -> set[str]:
    from lvqa_ray.stages.checks.duplicates import _jaccard, shingles

    kept: list[frozenset[str]] = []
    found = set()
    for row_id, text in texts:
        own = shingles(text)
        if any(_jaccard(own, other) >= threshold for other in kept):
            found.add(row_id)
        else:
            kept.append(own)
    return found
