r"""Reward functions for training with verifiable answers: reply of a policy and record -> number from 0 to 1.

::

    from lvqa_ray.rewards import reward

    reward("... <answer>B</answer>", record)          # a row of data/ as a dictionary

The answer is what stands in the last ``<answer>`` tag, else in the last ``\boxed{}``, else after the last line label
``Answer:``, else a reply of one line, or a short last line. Drafts (``<think>``) do not count; times may be ``mm:ss``.
An answer that cannot be read, or that names two options, scores 0. `lvqa_ray.qa.grading` says how each kind is graded.

This module imports neither Ray nor Arrow nor a codec.
"""

# ruff: noqa: RUF001 -- full-width marks are what some models write

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.formats.answer_choice import read_choice
from lvqa_ray.qa.grading import MAX_ANSWER_CHARS, grade
from lvqa_ray.records import LETTERS, Key, Letter, NumberKey, OpenKey, OrderKey, Question, Span, SpanKey

MAX_REPLY_CHARS = 200_000
"""A longer reply scores 0."""
MAX_LAST_LINE_CHARS = 40
"""A longer last line is reasoning and no answer."""
_DRAFT = re.compile(r"<think(?:ing)?>(?:(?!<think(?:ing)?>).)*?</think(?:ing)?>", re.IGNORECASE | re.DOTALL)
_DRAFT_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_DRAFT_START = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_ANSWER_TAG = re.compile(r"<answer>(?P<text>(?:(?!</?answer>).)*)</answer>", re.IGNORECASE | re.DOTALL)
_LAST_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(?P<text>(?:[^{}]|\{[^{}]*\})*)\}")
_LABELLED = re.compile(
    r"^[\s#*_>]*(?:final\s+|correct\s+)?(?:answer|答案)[*_]{0,3}\s*[:：]\s*(?P<text>.*)$", re.IGNORECASE
)
_TEX_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf)\w*\s*\{([^{}]*)\}|[$\\]")


def reward(reply: str, record: Mapping[str, Any]) -> float:
    """Score a reply to the question of a record.

    Args:
        reply: The text of the policy, with or without reasoning.
        record: A row of ``data/`` with ``parsed_reasoning``, ``kind`` and ``typed_answer``; rows of earlier releases,
            which lack the last two, hold multiple-choice questions.

    Returns:
        A number from 0 to 1. Gold replies score 1.

    Raises:
        ValueError: The record has no usable key.
    """
    if len(reply) > MAX_REPLY_CHARS:
        return 0.0
    said = answer_text(reply)
    if said is None or len(said) > MAX_ANSWER_CHARS:
        return 0.0
    key = key_of(record)
    if not isinstance(key, Question):
        return min(1.0, max(0.0, grade(key, said) or 0.0))
    return float(read_choice(f"ANSWER: {' '.join(said.split())}", key).letter == key.answer)


def compute_score(
    *, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None, **_: object
) -> float:
    """Reward function of verl for the rows of ``lvqa export --format verl``.

    Args:
        solution_str: The text of the policy.
        ground_truth: The answer as text; used where the row has no key, as that of a multiple-choice question.
        extra_info: ``extra_info`` of the row; its ``record`` holds the key as JSON.

    Returns:
        A number from 0 to 1.
    """
    given = (extra_info or {}).get("record")
    return reward(solution_str, json.loads(given) if given else {"typed_answer": {"letter": ground_truth}})


def trl_reward(completions: Sequence[Any], record: Sequence[str], **_: object) -> list[float]:
    """Reward function of trl for the rows of ``lvqa export --format trl``.

    Args:
        completions: Replies of the policy: texts, or conversations whose last message is the reply.
        record: The column ``record`` of the rows: the key as JSON.

    Returns:
        A number from 0 to 1 for each reply.
    """
    return [reward(_reply_text(reply), json.loads(key)) for reply, key in zip(completions, record, strict=True)]


def _reply_text(completion: str | Sequence[Mapping[str, Any]]) -> str:
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


def answer_text(reply: str) -> str | None:
    """The text of the answer in a reply; ``None`` if the reply marks none, and neither is nor ends with a short line.

    Args:
        reply: The text of the policy.
    """
    reply = _without_drafts(reply)
    tagged = _ANSWER_TAG.findall(reply)
    if boxed := _LAST_BOX.findall(tagged[-1] if tagged else reply):
        return _untexed(boxed[-1])
    if tagged:
        return _untexed(tagged[-1])
    lines = [line for line in strip_thinking(reply).splitlines() if line.strip()]
    labelled = [match["text"] for line in lines if (match := _LABELLED.match(line))]
    if labelled:
        return _untexed(labelled[-1])
    if lines and (len(lines) == 1 or len(lines[-1]) <= MAX_LAST_LINE_CHARS):
        return _untexed(lines[-1])
    return None


def key_of(record: Mapping[str, Any]) -> Key | Question:
    """The key of a record; for a multiple-choice question, the question itself.

    Raises:
        ValueError: The record has no usable key.
    """
    parsed, answer = record.get("parsed_reasoning") or {}, record.get("typed_answer") or {}
    match kind := record.get("kind") or "choice":
        case "choice":
            letter = answer.get("letter") or parsed.get("ANSWER")
            options: dict[Letter, str] = {name: (parsed.get("OPTIONS") or {}).get(name) or "" for name in LETTERS}
            if letter in LETTERS:
                return Question(question="", options=options, answer=letter, steps=())
        case "span" if answer.get("spans"):
            spans = tuple(Span(start_s=span["start_s"], end_s=span["end_s"]) for span in answer["spans"])
            return SpanKey(spans=spans)
        case "number" if answer.get("number") is not None:
            return NumberKey(number=answer["number"], tolerance=answer.get("tolerance") or 0.0)
        case "order" if answer.get("order"):
            return OrderKey(items=(), order=tuple(answer["order"]))
        case "open" if answer.get("text"):
            return OpenKey(text=answer["text"], accepted=tuple(answer.get("accepted") or ()))
    raise ValueError(f"the record {record.get('id')!r} has no key of the kind {kind!r}")


def _without_drafts(reply: str) -> str:
    """The reply without its drafts; an answer in a draft does not count."""
    text = _DRAFT.sub("\n", reply)
    text = _DRAFT_END.split(text)[-1]  # some servers swallow the opening tag
    return _DRAFT_START.split(text)[0]


def _untexed(text: str) -> str:
    return _TEX_COMMAND.sub(lambda match: match[1] or "", text).strip()
