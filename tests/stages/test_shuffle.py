"""The place of the key tells nothing over a corpus, and the reasoning speaks of the options where they are."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import replace

import pytest

from lvqa_ray.qa.formats.text_format import parse_question, render_question
from lvqa_ray.qa.rewording import reason_text
from lvqa_ray.records import AskedQuestion, Question, QuestionedVideo
from lvqa_ray.stages.checks.shuffle import ShuffleOptions
from tests.stages.test_checks import SOUND, film

REASONED = replace(
    SOUND,
    steps=(
        replace(SOUND.steps[0], reasons=("Option A is ruled out, since the keys are in her hand",)),
        replace(SOUND.steps[1], reasons=("She comes out with the dog, and B and D never happen", "So the answer is C")),
    ),
)


def shuffled(ids: list[str], question: Question = REASONED, stage: ShuffleOptions | None = None) -> QuestionedVideo:
    rows = tuple(AskedQuestion(id=one, category="", question=question, reasoning="as written") for one in ids)
    (row,) = (stage or ShuffleOptions())(
        QuestionedVideo(film=film(ids[0].rpartition("_q")[0] or ids[0]), questions=rows)
    )
    return row


def places(ids: list[tuple[str, str]]) -> tuple[Counter[str], Counter[str]]:
    """Where the key, which is C at first, and option A come to be, over records given by their video and their id."""
    stage = ShuffleOptions()
    keys: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for video_id, row_id in ids:
        to = stage._places(row_id, video_id, "C")
        assert sorted(to.values()) == ["A", "B", "C", "D"]
        keys[to["C"]] += 1
        others[to["A"]] += 1
    return keys, others


def farthest(counts: Counter[str]) -> float:
    return max(abs(counts[letter] / counts.total() - 0.25) for letter in "ABCD")


@pytest.mark.parametrize("per_video", [1, 3, 4])
def test_each_place_holds_the_key_of_a_quarter_of_ten_thousand_records(per_video: int) -> None:
    """Four questions a video, or four videos in a row with one, share the places out; three leave some to chance."""
    videos = [f"clip-{number:05d}" for number in range(10_000 // per_video)]
    ids = [(video, video if per_video == 1 else f"{video}_q{n}") for video in videos for n in range(per_video)]
    keys, others = places(ids)
    assert farthest(keys) < 0.01
    assert farthest(others) < 0.015
    assert per_video == 3 or set(keys.values()) == {2500}


def test_where_checks_took_some_the_places_stay_within_one_percent() -> None:
    draw = random.Random(3)  # noqa: S311 - chance that can be repeated is the point
    ids = [(f"v{n}", f"v{n}_q{q}") for n in range(3600) for q in range(4) if draw.random() < 0.7]
    keys, _ = places(ids)
    assert keys.total() > 10_000
    assert farthest(keys) < 0.0075  # 99 of 100 corpora; left to chance, it would be 0.013


def test_names_without_numbers_leave_it_to_chance_and_to_no_more() -> None:
    names = [f"{hashlib.sha256(str(n).encode()).hexdigest()[:11]}x" for n in range(10_000)]
    keys, others = places([(name, name) for name in names])
    assert max(farthest(keys), farthest(others)) < 0.013  # 99 of 100 corpora


def test_the_order_along_a_corpus_is_no_pattern() -> None:
    stage = ShuffleOptions()
    blocks = Counter(
        "".join(stage._places(f"v{n}", f"v{n}", "C")["C"] for n in range(4 * block, 4 * block + 4))
        for block in range(480)
    )
    assert len(blocks) == 24, "every order of the four places comes up"
    assert max(blocks.values()) < 45


def test_the_letters_in_the_reasons_follow_into_the_rewriting() -> None:
    row = shuffled([f"v_q{number}" for number in range(4)])
    assert {one.choice.answer for one in row.questions} == set("ABCD")
    for one in row.questions:
        at = {text: letter for letter, text in one.choice.options.items()}
        new = {letter: at[text] for letter, text in SOUND.options.items()}
        assert one.choice.answer == new["C"]
        said = f"Option {new['A']} is ruled out, since the keys are in her hand"
        assert one.question.steps[0].reasons == (said,)
        never, so = one.question.steps[1].reasons
        assert (f"and {new['B']} and {new['D']} never happen" in never, so) == (True, f"So the answer is {new['C']}")
        assert said in reason_text(one.question)
        assert parse_question(one.reasoning) == one.question
        assert one.verdicts[-1].passed


def test_the_order_depends_on_the_id_and_the_seed_alone() -> None:
    one, again = shuffled(["v_q0", "v_q1"]), shuffled(["v_q1"])
    assert one.questions[1].question == again.questions[0].question
    seeds = {shuffled(["v"], stage=ShuffleOptions(seed=seed)).questions[0].reasoning for seed in range(20)}
    assert len(seeds) > 5


def test_a_question_whose_letters_cannot_be_followed_stays_as_it_was() -> None:
    unclear = replace(SOUND, steps=(replace(SOUND.steps[0], reasons=("They go on with plan B",)), SOUND.steps[1]))
    row = shuffled(["v"], unclear)
    (left,) = row.questions
    assert (left.question, left.reasoning) == (unclear, "as written")
    assert (left.verdicts[0].passed, left.verdicts[0].action) == (False, "marked")
    assert "plan B" in left.verdicts[0].reason
    strict = shuffled(["v"], unclear, ShuffleOptions(policy="drop"))
    assert (strict.questions, strict.drops[0].check) == ((), "shuffle")
    assert render_question(unclear)


def test_names_in_a_stem_or_an_option_are_not_rewritten() -> None:
    stem = replace(SOUND, question="What was the chef's first choice of knife?")
    option = replace(SOUND, options={**SOUND.options, "B": "Team B is ahead at the end"})
    for unclear in (stem, option):
        (left,) = shuffled(["v"], unclear).questions
        assert (left.question, left.verdicts[0].action) == (unclear, "marked")
