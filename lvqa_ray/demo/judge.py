"""Verdicts on questions, point by point, from the captions that a request holds and from nothing else.

A question of ours is worked out from the captions. Of another's, and of a point that this endpoint cannot tell, nothing
is said: a reply without that line is one that the job takes for no verdict.
"""

from __future__ import annotations

import re

from lvqa_ray.demo import answer
from lvqa_ray.demo.answer import Request

_LINE = re.compile(r"^(?P<point>[A-Z][A-Z ]+): <yes or no>", re.MULTILINE)
_ASKED = re.compile(
    r"^QUESTION: (?P<stem>[^\n]+)\nOPTIONS:\nA\. ([^\n]+)\nB\. ([^\n]+)\nC\. ([^\n]+)\nD\. ([^\n]+)\n"
    r"ANSWER: (?P<key>[A-D])$",
    re.MULTILINE,
)
_NEVER = {
    "COMMON SENSE ONLY": "what a film looks like, and when, follows from no common sense",
    "SUBJECTIVE": "light, colours and their order are measured",
    "OUTSIDE KNOWLEDGE": "all of it can be measured in the pictures",
}


def judge(text: str) -> str:
    """What can be said of each point of a rubric; empty for another request."""
    points = _LINE.findall(text)
    asked = _ASKED.search(text)
    if not points or asked is None:
        return ""
    request = Request(asked["stem"], dict(zip("ABCD", asked.groups()[1:5], strict=True)))
    right = answer.right(request, text)
    if right is None:
        return "I measure pictures, and this question asks for something else: I cannot judge it."
    if right == [asked["key"]]:
        doubt = "no - the descriptions bear out the key, and no other option"
    elif len(right) > 1:
        doubt = f"yes - the descriptions bear out each of {', '.join(right)}"
    else:
        doubt = f"yes - the descriptions bear out {f'option {right[0]}' if right else 'no option'}"
    said = {"AMBIGUOUS": doubt} | {point: f"no - {why}" for point, why in _NEVER.items()}
    return "\n".join(f"{point}: {said[point]}." for point in points if point in said)
