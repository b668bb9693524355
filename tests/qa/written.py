"""A question as a model writes it, and changes made to that."""

from __future__ import annotations

from dataclasses import replace

from lvqa_ray.records import Question, ReasoningStep

REPLY = """QUESTION: What is the person's main goal?
OPTIONS:
A. Looking for keys
B. Reading a book
C. Organizing the room
D. Making a phone call
ANSWER: B
REASONS:
##### From [0 to 10]:
- Person enters room
- Environment shows bookshelf
##### From [10 to 20]:
- Person walks directly to bookshelf
- Picks up and opens a book"""

EXPECTED = Question(
    question="What is the person's main goal?",
    options={"A": "Looking for keys", "B": "Reading a book", "C": "Organizing the room", "D": "Making a phone call"},
    answer="B",
    steps=(
        ReasoningStep(
            timestamp="0 to 10",
            start_s=0.0,
            end_s=10.0,
            reasons=("Person enters room", "Environment shows bookshelf"),
        ),
        ReasoningStep(
            timestamp="10 to 20",
            start_s=10.0,
            end_s=20.0,
            reasons=("Person walks directly to bookshelf", "Picks up and opens a book"),
        ),
    ),
)
OPTION_BLOCK = REPLY[REPLY.index("A. ") : REPLY.index("\nANSWER")]
FIRST_HEADER, SECOND_HEADER = "##### From [0 to 10]:", "##### From [10 to 20]:"


def changed(*pairs: str) -> str:
    """The reply with each old text replaced by the new one that follows it in the arguments."""
    reply = REPLY
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in reply, old
        reply = reply.replace(old, new)
    return reply


def with_reasons(*reasons: str) -> Question:
    return replace(EXPECTED, steps=(replace(EXPECTED.steps[0], reasons=reasons), EXPECTED.steps[1]))


def with_span(timestamp: str, start_s: float, end_s: float) -> Question:
    first = replace(EXPECTED.steps[0], timestamp=timestamp, start_s=start_s, end_s=end_s)
    return replace(EXPECTED, steps=(first, EXPECTED.steps[1]))


def folded(text: str) -> str:
    return " ".join(text.casefold().split())
