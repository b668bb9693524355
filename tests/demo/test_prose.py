from __future__ import annotations

import pytest

from lvqa_ray.demo import prose
from lvqa_ray.demo.compose import compose
from lvqa_ray.qa.formats.text_format import full_question, parse_question
from lvqa_ray.qa.rewording import reason_text
from lvqa_ray.stages import reformat
from tests.demo.test_compose import long_film, merged

REASON = """Start thinking.
Step 1: Alice sits in a dim room. She reads a "red" book at 3.5 m.
Step 2: the door opens. 3 to 5 birds fly in.
Step 3: So she leaves."""
KEPT = ("Alice sits in a dim room", 'reads a "red" book at 3.5 m', "door opens", "3 to 5 birds fly in", "she leaves")


def written(reason: str = REASON, answer: str = "C") -> str:
    request = prose.find(
        f'Rewrite this.\n\n"question": "Why?"\n\n"answer": "{answer}"\n\n"reason": "{reason}"\n\nReply.'
    )
    assert request is not None
    return prose.rewrite(request)


def test_every_fact_is_kept_and_the_frame_is_gone() -> None:
    text = written()
    assert all(fact in text for fact in KEPT)
    assert text.endswith("Therefore, the correct answer is C.")
    for word in ("Step", "Start thinking", "caption", "Reply", "\n"):
        assert word not in text


@pytest.mark.parametrize(
    "layout",
    [
        "Step 1: [0 to 10]: Alice sits. Step 2: [10 to 20]: Bob stands.",
        "Step 1: From 0 to 10:\n- Alice sits\n- It rains\nStep 2: From 10 to 20:\n- Bob stands",
        "Step 1: (0:10 to 0:20) Alice sits.\nStep 2: (0:20 to 0:30) Bob stands.",
        "Step 1: From 0.50 s to 10.00 s, Alice sits.\nStep 2: Bob stands.",
        "Step 1: Alice sits.\\nStep 2: Bob stands.",
    ],
)
def test_layouts_of_steps(layout: str) -> None:
    text = written(f"Start thinking. {layout}")
    assert "Alice sits." in text
    assert "Bob stands." in text
    assert "Step" not in text
    assert not any(char.isdigit() for char in text)


def test_a_json_request_is_read() -> None:
    request = prose.find('{"question": "Q", "answer": "A", "reason": "Start thinking.\\nStep 1: A \\"b\\" c."}')
    assert request == prose.Request("A", (('A "b" c.',),))


@pytest.mark.parametrize("text", ["", "hello", '"question" "answer"', '"reason": "Start thinking. Step 1: x."'])
def test_other_texts_are_not_for_rewriting(text: str) -> None:
    assert prose.find(text) is None


def test_the_jobs_own_prompt_with_our_own_question() -> None:
    openings = set()
    for seed in range(12):
        question = parse_question(compose(merged(long_film(seed))))
        prompt = reformat.PROMPT.format(
            question=full_question(question), answer=question.answer, reason=reason_text(question)
        )
        request = prose.find(prompt)
        assert request is not None
        assert len(request.steps) == len(question.steps)
        text = prose.rewrite(request)
        for step in question.steps:
            assert all(reason[1:].rstrip(".") in text for reason in step.reasons)
        assert text.endswith(f"the correct answer is {question.answer}.")
        assert "Reply with" not in text
        openings.add(text[:12])
    assert len(openings) > 1
