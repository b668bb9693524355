"""Letters that name options follow them to their new places; what may be something else is never touched by guess."""

from __future__ import annotations

import pytest

from lvqa_ray.qa.option_letters import Unclear, moved_letters
from lvqa_ray.records import Letter

TO: dict[Letter, Letter] = {"A": "B", "B": "C", "C": "D", "D": "A"}
BACK: dict[Letter, Letter] = {new: old for old, new in TO.items()}


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("So option B is wrong", "So option C is wrong"),
        ("Options A and C are true of another time", "Options B and D are true of another time"),
        ("This rules out A, B and D.", "This rules out B, C and A."),
        ("(B) happens later", "(C) happens later"),
        ("The answer is C.", "The answer is D."),
        ("The right one is therefore C.", "The right one is therefore D."),
        ("The only possibility is B.", "The only possibility is C."),
        ("Answer: D", "Answer: A"),
        ("so the correct answer is **A**", "so the correct answer is **B**"),
        ("B is seen first, C and D only at the end", "C is seen first, D and A only at the end"),
        ("A is wrong because A man comes in", "B is wrong because A man comes in"),
        ("A dog runs. A and B both happen before", "A dog runs. B and C both happen before"),
        ("Choice C describes the kitchen", "Choice D describes the kitchen"),
        ("D cannot be, so it must be option A", "A cannot be, so it must be option B"),
        ("A: it comes too early. B: nobody does that", "B: it comes too early. C: nobody does that"),
        ("Options A to C are all earlier", "Options B, C and D are all earlier"),
        ("options A-D", "options A, B, C and D"),
        ("The second option comes too early", "Option C comes too early"),
        ("which is why the last choice fails", "which is why option A fails"),
        ("only C fits", "only D fits"),
        ("This leaves C", "This leaves D"),
        ("Neither B nor C is possible", "Neither C nor D is possible"),
        ("unlike option B, A and D happen indoors", "unlike option C, B and A happen indoors"),
        ("A bird lands on the roof", "A bird lands on the roof"),
        (
            "A-frame houses and T-shirts, ABC news, the CD, U.S.A.",
            "A-frame houses and T-shirts, ABC news, the CD, U.S.A.",
        ),
        ("Nothing to see here", "Nothing to see here"),
        ("Als Antwort bleibt nur (D)", "Als Antwort bleibt nur (A)"),
    ],
)
def test_letters_of_options_follow(text: str, moved: str) -> None:
    assert moved_letters(text, TO) == moved
    if "option" not in moved.lower() or "option" in text.lower():
        assert moved_letters(moved_letters(text, TO), {letter: letter for letter in TO}) == moved


@pytest.mark.parametrize(
    "text",
    [
        "They go on with plan B",
        "The sign says Gate C",
        "He takes vitamin D with water",
        "Mr. B waits at the bus stop",
        "Options C to A are wrong",
        "the grade was an A",
        "Team B is ahead at the end.",
        "So vitamin D is named",
        "Plan B fails.",
        "Exhibit A matches the note",
        "In the end team A and B are even",
        "Mr. B is late",
        "The blood type is B.",
        "His grade was not A, it seems",
        "The team in the lead is therefore B.",
        "His first choice was the long one",
        "The first choice of knife is too long",
        "She takes the second option they give her",
        "The last choice Alice makes is the red one",
        "The first and second options are wrong",
    ],
)
def test_what_may_be_a_name_is_left_to_the_check(text: str) -> None:
    with pytest.raises(Unclear):
        moved_letters(text, TO)


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("Then B is ruled out, while D is too late", "Then C is ruled out, while A is too late"),
        ("It is clear that A is wrong because C is seen", "It is clear that B is wrong because D is seen"),
        ("The dog runs. B is wrong", "The dog runs. C is wrong"),
        ("The third option is too early", "Option D is too early"),
    ],
)
def test_a_joining_word_before_a_letter_makes_no_name(text: str, moved: str) -> None:
    assert moved_letters(text, TO) == moved


@pytest.mark.parametrize(
    "text", ["B is ahead", "What was the chef's first choice of knife?", "The first option", "She picks C."]
)
def test_what_stems_and_options_say_is_of_the_video(text: str) -> None:
    with pytest.raises(Unclear, match="may name an option or not"):
        moved_letters(text, TO, shown=True)


def test_what_is_sure_follows_in_stems_and_options_too() -> None:
    text = "Both option A and (C), a dog and A dog"
    assert moved_letters(text, TO, shown=True) == "Both option B and (D), a dog and A dog"


def test_there_and_back_is_where_it_was() -> None:
    text = "Options B and D come later, (A) is true of another dog, so the answer is C."
    assert moved_letters(moved_letters(text, TO), BACK) == text
