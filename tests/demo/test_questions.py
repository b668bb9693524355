"""The key is recomputed here from the facts alone, by the words of the question."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvqa_ray.demo import captions, question_writer
from lvqa_ray.demo.captions import COLOURS, LIGHTINGS, CaptionFacts, Look, Shot
from lvqa_ray.demo.question_writer import right as right_by_captions
from lvqa_ray.demo.question_writer import write
from lvqa_ray.qa.formats.text_format import parse_question, render_question
from lvqa_ray.qa.rewording import merged_line
from lvqa_ray.records import LETTERS, Question

FORMAT = re.compile(
    r"QUESTION: [^\n]+\nOPTIONS:\nA\. [^\n]+\nB\. [^\n]+\nC\. [^\n]+\nD\. [^\n]+\nANSWER: [A-D]\nREASONS:"
    r"(?:\n##### From \[\d+ to \d+\]:(?:\n- [^\n]+)+)+"
)
PICTURE = (
    rf"an? ({'|'.join(LIGHTINGS)}) picture (?:that is mainly ((?:{'|'.join(COLOURS)})"
    rf"(?:(?:, | and )(?:{'|'.join(COLOURS)}))*)|of many colours)"
)
Same = tuple[str, frozenset[str]]


def same(phrase: str) -> Same:
    match = re.fullmatch(PICTURE, phrase, re.IGNORECASE)
    assert match is not None, phrase
    return match[1], frozenset(re.split(", | and ", match[2])) if match[2] else frozenset()


# A film is a list of clips, each a list of looks.
Film = list[list[Look]]
few_looks = st.builds(
    Look,
    st.sampled_from(LIGHTINGS),
    st.lists(st.sampled_from(("black", "red", "green", "blue")), max_size=3, unique=True).map(tuple),
)
films = st.lists(st.lists(few_looks, min_size=1, max_size=4), min_size=1, max_size=14)


def merged(film: Film, length: int = 10, step: int = 10) -> str:
    lines = []
    for i, clip in enumerate(film):
        times = [f"{i * step + j * length / len(clip):.2f} s" for j in range(len(clip))]
        shots = tuple(Shot(time, time, look) for time, look in zip(times, clip, strict=True))
        lines.append(merged_line(i * step, i * step + length, CaptionFacts(shots).render()))
    return "\n".join(lines)


def right(film: Film, question: Question) -> set[str]:
    """Letters of the options that answer the question, found again from nothing but the film and the words."""
    flat = [look.sameness for clip in film for look in clip]
    places = [place for place, clip in enumerate(film) for _ in clip]
    stem = question.question

    def first(wanted: Same) -> int:
        return flat.index(wanted) if wanted in flat else len(flat)

    options = {letter: same(text) for letter, text in question.options.items()}
    if stem.startswith("Going by the first time"):
        best = min(first(look) for look in options.values())
        assert len({places[first(look)] for look in options.values()}) == 4
        return {letter for letter, look in options.items() if first(look) == best}
    if stem == "How does the film begin?":
        return {letter for letter, look in options.items() if look == flat[0]}
    anchor = re.search(f"first shows ({PICTURE})", stem)
    assert anchor is not None
    start = first(same(anchor[1]))
    lighting = re.search(rf"until the picture is ({'|'.join(LIGHTINGS)})\.", stem)
    if lighting:
        wanted = next(look for look in flat[start + 1 :] if look[0] == lighting[1])
    elif "just before" in stem:
        wanted = flat[start - 1]
    else:
        wanted = next(look for look in flat[start:] if look != flat[start])
    return {letter for letter, look in options.items() if look == wanted}


@given(films)
@settings(max_examples=400, deadline=None)
def test_the_key_is_right_and_the_only_one(film: Film) -> None:
    told = merged(film)
    (question,) = write(told)
    reply = render_question(question)
    assert FORMAT.fullmatch(reply), reply
    assert parse_question(reply) == question
    assert right(film, question) == {question.answer}, reply
    assert right_by_captions(told, question.question, question.options) == [question.answer]
    assert len({text.casefold() for text in question.options.values()}) == 4
    spans = {(float(a), float(b)) for a, b in re.findall(r"^From (\d+) to (\d+),", told, re.MULTILINE)}
    assert {(step.start_s, step.end_s) for step in question.steps} <= spans
    assert "caption" not in reply.lower()
    assert write(told) == [question]


@pytest.mark.parametrize("kind", [*question_writer.KINDS, question_writer.opening])
@given(film=films, seed=st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_each_kind_alone(
    kind: Callable[[captions.Film, random.Random], question_writer.Puzzle | None], film: Film, seed: int
) -> None:
    puzzle = kind(captions.Film.read(merged(film)), random.Random(seed))  # noqa: S311 - a draw to repeat, no secret
    if puzzle is None:
        return
    key, *wrong = (captions.capital(look.phrase) for look in (puzzle.key, *puzzle.distractors))
    question = Question(
        question=puzzle.stem,
        options={"A": key, "B": wrong[0], "C": wrong[1], "D": wrong[2]},
        answer="A",
        steps=(),
    )
    assert right(film, question) == {"A"}, puzzle


@given(films)
@settings(max_examples=60, deadline=None)
def test_overlapping_clips_are_never_put_in_an_order_that_is_open(film: Film) -> None:
    (question,) = write(merged(film, length=15, step=10))
    assert len(film) == 1 or "first shows" not in question.question
    if question.question.startswith("Going by"):
        spans = sorted((step.start_s, step.end_s) for step in question.steps)
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))


def long_film(seed: int, clips: int = 60) -> Film:
    draw = random.Random(seed)  # noqa: S311 - a draw to repeat, no secret
    return [
        [Look(draw.choice(LIGHTINGS), tuple(draw.sample(COLOURS, 2))) for _ in range(draw.randint(1, 3))]
        for _ in range(clips)
    ]


def test_keys_and_kinds_are_spread() -> None:
    written = [write(merged(long_film(seed, clips=20)))[0] for seed in range(250)]
    letters = Counter(question.answer for question in written)
    assert min(letters[letter] for letter in LETTERS) > 25
    marks = ("first time", "comes next", "just before", "watch on")
    kinds = Counter(next(mark for mark in marks if mark in question.question) for question in written)
    assert min(kinds[mark] for mark in marks) > 5, kinds
    assert len({question.question for question in written}) > 100


def test_distractors_are_true_of_other_moments_where_the_film_has_them() -> None:
    for seed in range(30):
        film = long_film(seed)
        (question,) = write(merged(film))
        assert question.question != "How does the film begin?"
        assert len(question.steps) >= 2
        looks = {look.sameness for clip in film for look in clip}
        assert {same(text) for text in question.options.values()} <= looks


def test_two_films_get_two_questions() -> None:
    assert write(merged(long_film(1))) != write(merged(long_film(2)))


def test_a_gap_is_never_stepped_over() -> None:
    for seed in range(60):
        film = long_film(seed, clips=12)
        (question,) = write(merged(film, length=5, step=10))
        if "first shows" in question.question and "watch on" not in question.question:
            assert question.steps[0].start_s == question.steps[1].start_s


def test_several_questions_are_different_ones_and_none_is_known() -> None:
    for seed in range(20):
        film = long_film(seed, clips=20)
        written = write(merged(film), 5)
        assert len({question.question for question in written}) == 5
        assert all(right(film, question) == {question.answer} for question in written)
        known = [question.question for question in written]
        assert not {question.question for question in write(merged(film), 5, known)} & {*known}


def test_text_around_the_captions_makes_no_difference() -> None:
    told = merged(long_film(1))
    assert write(f"Below are the parts.\n\n{told}\n\nWrite one. From 1 to 2, at most.") == write(told)


@pytest.mark.parametrize("text", ["", "From 0 to 10, a dog barks.\nFrom 10 to 20, it sleeps.", "no lines at all"])
def test_without_facts_there_is_no_question(text: str) -> None:
    assert write(text, 3) == []
    assert right_by_captions(text, question_writer.BEGINNING, {"A": "A dim picture of many colours"}) is None


def test_one_still_clip_is_enough() -> None:
    film = [[Look("dark", ("red",))]]
    (question,) = write(merged(film))
    assert same(question.options[question.answer]) == ("dark", frozenset({"red"}))
