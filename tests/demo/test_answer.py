"""The embedded endpoint answers its own questions from the captions alone, and guesses where it is given none."""

from __future__ import annotations

import pytest

from lvqa_ray.demo import answer
from lvqa_ray.demo.compose import compose_several
from lvqa_ray.demo.facts import ClipFacts, Look, Shot
from lvqa_ray.llm.parse import full_question, parse_question
from lvqa_ray.llm.tally import named_option, turned
from lvqa_ray.records import Question
from lvqa_ray.stages.check_blind import CheckBlind
from lvqa_ray.stages.check_evidence import CheckEvidence
from lvqa_ray.stages.check_solve import CheckSolve
from tests.demo.test_compose import long_film, merged


@pytest.fixture(scope="module")
def asked() -> list[tuple[str, Question]]:
    films = [merged(long_film(seed, clips=20)) for seed in range(40)]
    return [(film, parse_question(text)) for film in films for _, text in compose_several(film, 4)]


def reply(prompt: str) -> str:
    request = answer.find(prompt)
    assert request is not None
    return answer.answer(request, prompt)


def test_it_finds_the_key_of_every_question_wherever_it_stands(asked: list[tuple[str, Question]]) -> None:
    for number, (film, question) in enumerate(asked):
        one = turned(question, number % 4)
        prompt = CheckSolve().filled({"captions": film, "question": full_question(one), "video_id": "v"})
        assert named_option(reply(prompt), one) == one.answer, question.question


def test_without_captions_it_is_right_by_chance(asked: list[tuple[str, Question]]) -> None:
    right = 0
    for film, question in asked:
        for one in (turned(question, n) for n in range(4)):
            said = reply(CheckBlind().filled({"question": full_question(one), "video_id": film}))
            assert "guess" in said
            right += named_option(said, one) == one.answer
    tries = 4 * len(asked)
    assert abs(right / tries - 0.25) < 3 * (0.25 * 0.75 / tries) ** 0.5


def test_a_question_of_somebody_else_is_a_guess_and_another_request_is_none() -> None:
    film = merged(long_film(1, clips=20))
    question = "Why does she go back?\nA. For the dog\nB. For the cat\nC. For the keys\nD. For the rain"
    said = reply(CheckSolve().filled({"captions": film, "question": question, "video_id": "v"}))
    assert "guess" in said
    assert answer.find(question) is None


def test_a_claim_about_pictures_is_scored_by_their_looks() -> None:
    seen = ClipFacts(
        (Shot("0.00 s", "4.00 s", Look("dim", ("blue", "green"))), Shot("5.00 s", "9.00 s", Look("dark", ())))
    )
    told = "- The picture is dim and mainly green and blue.\n- Nothing before this looks the same."
    assert "SCORE: 1.00" in answer.score(claim(told), seen)
    assert "SCORE: 0.50" in answer.score(claim(f"{told}\n- The picture is bright and mainly red."), seen)
    assert "SCORE: 1.00" in answer.score(claim("- So the answer is B."), seen)
    assert answer.score(told, seen) == ""


def claim(told: str) -> str:
    return CheckEvidence().filled({"claim": told, "start": "0.00", "end": "10.00", "video_id": "v"})
