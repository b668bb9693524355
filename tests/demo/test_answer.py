"""The embedded endpoint answers its own questions from the captions alone, and guesses where it is given none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from lvqa_ray.demo import answer, judge
from lvqa_ray.demo.chat import MODEL, complete
from lvqa_ray.demo.compose import compose_several
from lvqa_ray.demo.facts import ClipFacts, Look, Shot
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Text
from lvqa_ray.qa.formats.text_format import full_question, parse_question, render_question
from lvqa_ray.qa.repeated_answers import named_option, rotate_options
from lvqa_ray.records import LETTERS, Question, QuestionedVideo, Usage
from lvqa_ray.stages.checks.blind import CheckBlind
from lvqa_ray.stages.checks.evidence import CheckEvidence
from lvqa_ray.stages.checks.judge import CheckJudge
from lvqa_ray.stages.checks.solve import CheckSolve
from tests.demo.test_compose import long_film, merged
from tests.stages.test_checks import SOUND
from tests.stages.test_checks import asked as asked_of
from tests.stages.test_checks import film as film_of


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
        one = rotate_options(question, number % 4)
        prompt = CheckSolve().filled({"captions": film, "question": full_question(one), "video_id": "v"})
        assert named_option(reply(prompt), one) == one.answer, question.question


def test_without_captions_it_is_right_by_chance(asked: list[tuple[str, Question]]) -> None:
    right = 0
    for film, question in asked:
        for one in (rotate_options(question, n) for n in range(4)):
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


def judged(film: str, question: str) -> dict[str, str]:
    """What the endpoint says of a question, read as the check reads it."""
    check = CheckJudge()
    sent: list[str] = []

    async def chat(request: ChatRequest) -> ChatReply:
        sent.append("".join(part.text for part in request.messages[-1].parts if isinstance(part, Text)))
        body = {"model": MODEL, "messages": [{"role": "user", "content": sent[-1]}]}
        said: Any = complete(body)
        return ChatReply(text=said["choices"][0]["message"]["content"], model=MODEL, usage=Usage())

    captions = [line.partition(", ")[2] for line in film.splitlines()]
    one = replace(asked_of(), reasoning=question)
    verdict = asyncio.run(check.judge(one, QuestionedVideo(film=film_of(captions=captions), questions=(one,)), chat))
    return {} if verdict.passed else {verdict.reason.partition(":")[0]: verdict.reason}


def test_it_judges_its_own_questions_by_the_captions(asked: list[tuple[str, Question]]) -> None:
    """Sound ones have no fault; a wrong key, and two options that say the same, are found."""
    for film, question in asked[::9]:
        told = render_question(question)
        assert judged(film, told) == {}, question.question
        others = [letter for letter in LETTERS if letter != question.answer]
        wrong = judged(film, told.replace(f"ANSWER: {question.answer}", f"ANSWER: {others[0]}", 1))
        assert f"bear out option {question.answer}" in wrong["ambiguous"]
        was, key = (f"\n{others[0]}. {question.options[of]}\n" for of in (others[0], question.answer))
        twice = told.replace(was, key)
        assert "bear out each of" in judged(film, twice)["ambiguous"]


def test_what_it_cannot_judge_is_no_verdict(asked: list[tuple[str, Question]]) -> None:
    film, question = asked[0]
    assert "it could not be checked" in judged(film, render_question(SOUND))
    assert judge.judge(f"{film}\n{render_question(question)}\nDULL: <yes or no>") == ""


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
