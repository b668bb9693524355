"""Tasks for questions without options: prompt text by kind, their categories, and their plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lvqa_ray.qa.question_plan import CATEGORIES
from lvqa_ray.records import Kind

CATEGORY_OF: Mapping[Kind, str] = {"span": "temporal", "number": "counting", "open": "plot", "order": "temporal"}
"""Category of the questions of each kind, in the order in which they are asked; `order` needs the others."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions that one call writes.

    Attributes:
        start: Index of the first one in the plan.
        categories: Category of each.
        kind: Their kind.
        part: Index of the batch among those that share the windows of a long video.
        of: Number of such batches.
    """

    start: int
    categories: tuple[str, ...]
    kind: Kind = "choice"
    part: int = 0
    of: int = 1


def batches(choices: Sequence[str], kinds: Mapping[Kind, int], per_call: int) -> Iterator[Batch]:
    """The batches of a plan: first the multiple-choice questions, then those of each further kind.

    Args:
        choices: Categories of the multiple-choice questions.
        kinds: Number of questions of each further kind.
        per_call: Maximum number of questions of a batch.
    """
    of = -(-len(choices) // per_call)
    for start in range(0, len(choices), per_call):
        yield Batch(start, tuple(choices[start : start + per_call]), "choice", start // per_call, of)
    start, further = len(choices), [kind for kind in CATEGORY_OF if kinds.get(kind)]
    for part, kind in enumerate(further):
        for done in range(0, kinds[kind], per_call):
            count = min(per_call, kinds[kind] - done)
            yield Batch(start, (CATEGORY_OF[kind],) * count, kind, part, len(further))
            start += count


def keyed_prompt(batch: Batch, about: Mapping[str, str], earlier: str) -> str:
    """The prompt for a batch, with the placeholders ``{captions}`` and ``{format}``.

    Args:
        batch: The questions.
        about: What each category asks about.
        earlier: What is said about earlier questions, or empty.
    """
    count = len(batch.categories)
    what = {**CATEGORIES, **about}[batch.categories[0]].replace("{", "{{").replace("}", "}}")
    many = "one hard question" if count == 1 else f"{count} hard questions, each about other moments,"
    asks = f"{many} about the video. {'It asks' if count == 1 else 'They ask'} about {what}."
    return KEYED_TASK.replace("<questions>", asks + earlier).replace("<answer>", KEYED_ANSWERS[batch.kind])


KEYED_TASK = """\
Below are descriptions of the parts of one video, in the order of time, each with the seconds that it covers.

{captions}

Write <questions>

A question must take several steps of reasoning that join at least three different moments; no single moment and no \
general knowledge may be enough to answer it. Write for somebody who watches the video and has never seen these \
descriptions: speak of the video, never of captions or descriptions, and do not name times in a question. A question \
has no options, and it must not give its answer away.

<answer>

Then give the reasoning that leads to the answer, step by step, in the order of time. Every step names the seconds \
that it rests on, taken from the descriptions, and lists what is seen there.

{format}"""

KEYED_ANSWERS: Mapping[Kind, str] = {
    "span": """\
The answer is when something happens: one or more time spans of the video in seconds, each as short as the \
descriptions allow. All moments that fit the question belong to the answer, and no others. The question asks when or \
during which part something happens, and describes it by what is seen there and at other moments.""",
    "number": """\
The answer is one number that the video shows and that nobody can guess: how often something happens, how many \
things there are over several separate moments, or how many seconds pass between two events. Count only what the \
descriptions state. Seconds get a tolerance, counts get none.""",
    "open": """\
The answer is a name, a thing, an action or a place in one to five words. Exactly one answer is right; give the other \
forms that a viewer may write for it, and say in one sentence what an answer must say to be right.""",
}
"""What the answer of each kind is, for the model that writes the question; `order` is written without a model."""
