"""A question for who has seen no options speaks of none."""

from __future__ import annotations

from typing import Any

import pytest

from lvqa_ray.qa.report_letters import without_letters
from lvqa_ray.records import LETTERS, Question
from lvqa_ray.records.question_columns import open_twin
from lvqa_ray.report.export_formats import open_ended
from lvqa_ray.report.trainers.formats import TRAINER_FORMATS
from lvqa_ray.report.trainers.training_sample import SampleStyle


def row(asks: str) -> dict[str, Any]:
    options = dict(zip(LETTERS, ("Home", "Away", "Out", "In"), strict=True))
    twin = open_twin(Question(question=asks, options=options, answer="A", steps=()))
    return {"id": "x", "video": "v", "category": "goal", "reformatted_reasoning": "I see it. So it is A.", **twin}


def test_the_open_twin_of_the_record_is_what_is_exported() -> None:
    made = open_ended(row("Where does it go?"))
    assert made is not None
    assert (made["question"], made["answer"], made["reasoning"]) == ("Where does it go?", "Home", "I see it.")


def test_a_text_that_names_a_place_for_a_picture_is_none() -> None:
    """Trainers count these: one more than there are videos ends a training, or moves the video."""
    said = {"full_question": "Why does the page say <video>?", "reformatted_reasoning": "I see <image> and <b>."}
    parsed = {"QUESTION": "Why?", "ANSWER": "A", "OPTIONS": {"A": "for <video>"}}
    record = {"id": "x", "video": "v", "category": None, "parsed_reasoning": parsed, **said}
    llava, sharegpt, video_r1 = (
        TRAINER_FORMATS[name].convert(record, SampleStyle()) for name in ("llava", "sharegpt", "video-r1")
    )
    assert llava is not None
    assert sharegpt is not None
    assert video_r1 is not None
    (asked, answered), (shared, _) = llava["conversations"], sharegpt["conversations"]
    assert video_r1["options"] == ["A. for < video>"]
    assert asked["value"] == "<image>\nWhy does the page say < video>?"
    assert shared["value"] == "<video>Why does the page say < video>?"
    assert answered["value"] == "I see < image> and <b>.\n\nAnswer: A"


@pytest.mark.parametrize(
    "asks",
    [
        "Which of these comes first?",
        "Which option is shown?",
        "What does she not do before leaving?",
        "Which of the men leaves first?",
        "Which statement is true?",
        "All happen except what?",
    ],
)
def test_what_makes_no_sense_without_options_is_left_out(asks: str) -> None:
    assert open_ended(row(asks)) is None


@pytest.mark.parametrize(
    "said",
    [
        "Therefore, the correct option is B.",
        "Therefore, the correct answer is A.",
        "Option B is wrong because he stays.",
        "Answer: B",
        "Answer: a",
        "It must be B!",
        "**B**",
        "**A**",
        "A and C happen.",
        "A happens first.",
        "A clearly shows it.",
        "B's claim is wrong.",
        "This leaves (b).",
        "That rules out A\u2013D.",
        "A. He goes home.",
        "So A fits, since he goes home.",
        "The second option is the one.",
        "答案是B。",
        "A是对的。",
        "所以选\uff23。",
    ],
)
def test_a_sentence_that_names_an_option_is_cut(said: str) -> None:
    assert without_letters(f"A dog runs. {said}\nIt rests.").split() == ["A", "dog", "runs.", "It", "rests."]
    assert without_letters(said) == ""


@pytest.mark.parametrize(
    "said",
    [
        "A man enters, then leaves. A bus waits!",
        "A German car passes: A child waves.",
        "He reads “A boy is here” on the wall.",
        "The B-roll shows a TV in DC.",
        "She answers the phone.",
        "- A cat sits.\n- A dog lies.",
        "狗在跑。它休息了\uff01",
    ],
)
def test_what_names_none_stays_as_it_is(said: str) -> None:
    assert without_letters(said) == said


def test_chinese_sentences_are_cut_one_by_one() -> None:
    assert without_letters("狗在跑。答案是B。它休息了\uff01") == "狗在跑。它休息了\uff01"
