"""The demo endpoint answers each stage by its facts: right from the captions, by chance without, in any wording."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, get_args

import pytest

from lvqa_ray.config import Job
from lvqa_ray.demo.question_writer import write
from lvqa_ray.demo.replies import REFUSAL, REPLIES
from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.llm.endpoint import DEMO_MODEL
from lvqa_ray.qa.formats.analysis_replies import read_fields, read_list, read_tags, read_tree
from lvqa_ray.qa.formats.answer_choice import read_choice
from lvqa_ray.qa.formats.multi_question import parse_questions
from lvqa_ray.qa.formats.text_format import full_question, parse_question, render_question
from lvqa_ray.qa.repeated_answers import rotate_options
from lvqa_ray.qa.rewording import reason_text
from lvqa_ray.records import LETTERS, Question, QuestionedVideo, Style
from lvqa_ray.stage import Prompted
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.checks.judge import CheckJudge
from lvqa_ray.stages.checks.solve import CheckSolve
from tests.demo.asking import demo, said, told
from tests.demo.pictures import flat, image_parts
from tests.demo.test_questions import long_film, merged, right
from tests.stages.test_checks import SOUND
from tests.stages.test_checks import asked as asked_of
from tests.stages.test_checks import film as film_of

ENDPOINT = {"base_url": "http://127.0.0.1:1/v1", "model": DEMO_MODEL, "api_key_env": None}


@pytest.fixture(scope="module")
def asked() -> list[tuple[str, Question]]:
    films = [merged(long_film(seed, clips=20)) for seed in range(40)]
    return [(film, question) for film in films for question in write(film, 4)]


def test_there_is_a_reply_for_every_stage_that_asks() -> None:
    job = Job.of(
        {"videos": ["x.mp4"], "output": "out", "endpoints": {"vlm": ENDPOINT, "llm": ENDPOINT}}, [], where="here"
    )
    parts = [job, job.checks, job.analysis]
    stages = {value.name for part in parts for value in vars(part).values() if isinstance(value, Prompted)}
    assert stages
    assert stages == set(REPLIES)


def test_it_finds_the_key_of_every_question_wherever_it_stands(asked: list[tuple[str, Question]]) -> None:
    for number, (film, question) in enumerate(asked):
        one = rotate_options(question, number % 4)
        reply = told("solve", captions=film, question=full_question(one))
        assert read_choice(reply, one).letter == one.answer, question.question


def test_without_captions_it_is_right_by_chance(asked: list[tuple[str, Question]]) -> None:
    found = 0
    for _, question in asked:
        for one in (rotate_options(question, n) for n in range(4)):
            reply = told("blind", question=full_question(one))
            assert "guess" in reply
            found += read_choice(reply, one).letter == one.answer
    tries = 4 * len(asked)
    assert abs(found / tries - 0.25) < 3 * (0.25 * 0.75 / tries) ** 0.5


def test_a_question_of_somebody_else_is_left_open() -> None:
    question = "Why does she go back?\nA. For the dog\nB. For the cat\nC. For the keys\nD. For the rain"
    assert told("solve", captions=merged(long_film(1, clips=20)), question=question).endswith("ANSWER: none")


@pytest.mark.parametrize("prompt", [AskQuestions().prompt, "Von {captions}: {questions} {format}"])
@pytest.mark.parametrize("reply_format", ["text", "json_schema"])
def test_the_stage_gets_its_questions_in_any_wording_and_format(prompt: str, reply_format: Any) -> None:
    film = long_film(3, clips=20)
    row = film_of(captions=[line.partition(", ")[2] for line in merged(film).splitlines()])
    stage = AskQuestions(reply_format=reply_format, prompt=prompt)
    (done,) = asyncio.run(stage(row, demo))
    assert isinstance(done, QuestionedVideo)
    assert len(done.questions) == 4
    assert done.drops == ()
    for one in done.questions:
        assert right(film, one.choice) == {one.choice.answer}
    assert asyncio.run(CheckSolve().judge(done.questions[0], done, demo)).score == 1.0


def test_the_formats_of_questions() -> None:
    facts: dict[str, Any] = {"captions": merged(long_film(2)), "earlier": []}
    (one,) = write(facts["captions"])
    assert parse_question(told("ask", count=1, **facts)) == one
    assert parse_questions(told("ask", count=3, **facts))[0].question == one
    assert parse_question(told("ask", count=1, **facts | {"earlier": [one.question]})).question != one.question
    request = {"captions": facts["captions"], "question": render_question(one)}
    assert parse_question(told("rewrite", **request)).question != one.question
    assert told("ask", count=1, captions="From 0 to 10, a dog barks.", earlier=[]) == REFUSAL
    with pytest.raises(ParseError) as caught:
        parse_question(REFUSAL)
    assert caught.value.kind is ParseFault.REFUSAL


def judged(film: str, question: str) -> dict[str, str]:
    """What the endpoint says of a question, read as the check reads it."""
    one = replace(asked_of(), reasoning=question)
    row = film_of(captions=[line.partition(", ")[2] for line in film.splitlines()])
    verdict = asyncio.run(CheckJudge().judge(one, QuestionedVideo(film=row, questions=(one,)), demo))
    return {} if verdict.passed else {verdict.reason.partition(":")[0]: verdict.reason}


def test_it_judges_its_own_questions_by_the_captions(asked: list[tuple[str, Question]]) -> None:
    """Sound ones have no fault; a wrong key, and two options that say the same, are found."""
    for film, question in asked[::9]:
        text = render_question(question)
        assert judged(film, text) == {}, question.question
        others = [letter for letter in LETTERS if letter != question.answer]
        wrong = judged(film, text.replace(f"ANSWER: {question.answer}", f"ANSWER: {others[0]}", 1))
        assert f"bear out {question.answer}" in wrong["ambiguous"]
        was, key = (f"\n{others[0]}. {question.options[of]}\n" for of in (others[0], question.answer))
        assert (
            f"bear out {', '.join(sorted((others[0], question.answer)))}"
            in judged(film, text.replace(was, key))["ambiguous"]
        )


def test_what_it_cannot_judge_is_no_verdict(asked: list[tuple[str, Question]]) -> None:
    film, question = asked[0]
    assert "it could not be checked" in judged(film, render_question(SOUND))
    assert told("judge", captions=film, question=render_question(question), rubric="DULL: nobody cares") == ""


def test_a_claim_about_pictures_is_scored_by_their_looks() -> None:
    message = {"role": "user", "content": image_parts([flat(0, 0, 120), flat(220, 120, 40)])}

    def scored(claim: str) -> str:
        facts = {"stage": "evidence", "facts": {"claim": claim}}
        return said({"model": DEMO_MODEL, "messages": [message], "lvqa": facts})

    looks = "- The picture is dark and mainly red.\n- Nothing before this looks the same."
    assert "SCORE: 1.00" in scored(looks)
    assert "SCORE: 0.50" in scored(f"{looks}\n- The picture is bright and mainly red.")
    assert "SCORE: 1.00" in scored("- So the answer is B.")


def test_captions_are_thinned_out() -> None:
    captions = film_of(captions=["A."] * 40).captions
    lines = told("summarize", captions=captions, lines="6").splitlines()
    assert len(lines) == 6
    assert (lines[0].startswith("From 0 to "), "to 400," in lines[-1]) == (True, True)


def test_reasons_become_prose_that_keeps_every_fact() -> None:
    reason = (
        'Start thinking.\nStep 1: Alice sits in a dim room. She reads a "red" book at 3.5 m.\n'
        "Step 2: The door opens. 3 to 5 birds fly in.\nStep 3: So she leaves."
    )
    text = told("reformat", reason=reason, answer="C")
    for fact in (
        "Alice sits in a dim room.",
        'reads a "red" book at 3.5 m',
        "door opens. 3 to 5 birds fly in",
        "she le",
    ):
        assert fact in text
    assert text.endswith("Therefore, the correct answer is C.")
    for word in ("Step", "Start thinking", "caption", "\n"):
        assert word not in text


def test_the_prose_of_its_own_questions_leads_to_the_key(asked: list[tuple[str, Question]]) -> None:
    openings = set()
    for _, question in asked:
        text = told("reformat", reason=reason_text(question), answer=question.answer)
        for step in question.steps:
            assert all(reason[1:].rstrip(".") in text for reason in step.reasons)
        openings.add(text[:12])
        thoughts = text.partition("Therefore, the correct")[0]
        assert (
            read_choice(told("prose", question=full_question(question), prose=thoughts), question).letter
            == question.answer
        )
    assert len(openings) > 1
    nothing = told("prose", question=full_question(asked[0][1]), prose="A dog barks.")
    assert nothing.endswith("ANSWER: none")


def test_each_style_titles_and_a_map_come_from_what_was_seen_and_said() -> None:
    captions = merged(long_film(1))
    facts = {"video_analysis_text": captions, "video_asr_text": "From 3 to 5, Look at that!"}
    replies = {style: told("summary", style=style, **facts) for style in get_args(Style)}
    assert "“Look at that!”" in replies["plot_detail"]
    assert "“Look at that!”" in replies["summary"]
    tags = read_tags(replies["tags"])
    assert tags
    assert all(tag in captions.casefold() for tag in tags)
    assert read_list(replies["highlights"])[0].startswith("From ")
    assert read_fields(replies["multi_task"])["tags"] == tags
    plot = replies["plot_detail"]
    titles = read_list(told("titles", summary=plot, count="3"))
    assert len(titles) == 3
    assert all(title.casefold() in plot.casefold() for title in titles)
    tree: Any = read_tree(told("mind_map", summary=plot))
    assert tree["name"].casefold() in plot.casefold()
    assert [child["name"] for child in tree["children"]] == ["Beginning", "Middle", "End"]
