"""Arrow types of the columns of a question, and their values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from lvqa_ray.records.answers.answer_keys import NumberKey, OpenKey, OrderKey, SpanKey
from lvqa_ray.records.questions import LETTERS, AnyQuestion, KeyedQuestion, Question, Verdict

PARSED_REASONING = pa.struct(
    [
        ("QUESTION", pa.string()),
        ("OPTIONS", pa.struct([(letter, pa.string()) for letter in LETTERS])),
        ("ANSWER", pa.string()),
        # A list of named steps and not a map: `datasets` reads no map columns.
        (
            "REASONS",
            pa.list_(
                pa.struct(
                    [
                        ("step", pa.string()),
                        ("timestamp", pa.string()),
                        ("start_s", pa.float64()),
                        ("end_s", pa.float64()),
                        ("reasons", pa.list_(pa.string())),
                        ("clip_ids", pa.list_(pa.string())),
                    ]
                )
            ),
        ),
    ]
)
SPANS = pa.list_(pa.struct([("start_s", pa.float64()), ("end_s", pa.float64())]))
ANSWER = pa.struct(
    [
        ("letter", pa.string()),
        ("spans", SPANS),
        ("number", pa.float64()),
        ("tolerance", pa.float64()),
        ("unit", pa.string()),
        ("order", pa.list_(pa.int32())),
        ("text", pa.string()),
        ("accepted", pa.list_(pa.string())),
        ("rubric", pa.string()),
    ]
)
"""Key of a question; the fields of other kinds are null."""
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
CHECKS = pa.list_(
    pa.struct(
        [
            ("check", pa.string()),
            ("passed", pa.bool_()),
            ("action", pa.string()),
            ("reason", pa.string()),
            ("score", pa.float64()),
            ("tries", pa.int32()),
            ("calls", pa.int32()),
            ("input_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("cost_usd", pa.float64()),
            ("cached_tokens", pa.int64()),
            ("cache_write_tokens", pa.int64()),
            ("reasoning_tokens", pa.int64()),
        ]
    )
)


def training_messages(full_question: str, prose: str, answer: str) -> list[dict[str, str]]:
    """A question and its answer as chat messages (`MESSAGES`), ready for trainers.

    Args:
        full_question: Question and options as one text.
        prose: The reasoning to train on.
        answer: Letter of the right option, or the answer without options, which ends the reply.
    """
    return [
        {"role": "user", "content": _without_media(full_question)},
        {"role": "assistant", "content": _without_media(answered(prose, answer))},
    ]


def answered(prose: str, answer: str) -> str:
    """Reasoning, then the answer, such as the letter of the right option, which is stated once."""
    return f"{without_closing(prose, answer)}\n\nAnswer: {answer}"


def without_closing(prose: str, answer: str) -> str:
    """Reasoning without a closing clause that only states the answer, as in "so the correct answer is B".

    Args:
        prose: The reasoning.
        answer: Letter of the right option. A clause that states another letter stays.
    """
    text = prose.strip()
    found = _CLOSING.search(text)
    if not found or found["letter"].upper() != answer:
        return text
    kept = text[: found.start()].rstrip(" ,;:-\u2013\u2014\uff0c")
    if not kept:
        return text
    if kept[-1] in _STOPS:
        return kept
    return kept + ("\u3002" if _HAN.search(kept[-1]) else ".")


_CLOSING = re.compile(
    r"""(?:(?<=[.!?\n\u3002])\s*|[,;:\u2013\u2014\uff0c\uff1b]\s*|\s+(?=(?:and|so|therefore|thus|hence)\b))
    (?:(?:and|so|therefore|thus|hence|consequently|finally|overall|in\s+conclusion|which\s+means|this\s+means|as\s+a\s+result
        |(?:i|we)\s+(?:can\s+)?(?:conclude|infer))\b[\s,]*(?:that\s+)?)*
    (?:(?:the\s+|my\s+)?(?:(?:correct|right|best|final|only|most\s+likely)\s+)*(?:answer|option|choice)\s*
    (?::|is\b:?|must\s+be\b|would\s+be\b|should\s+be\b|has\s+to\s+be\b)\s*(?:(?:clearly|therefore|thus)\s+)?(?:option\s+)?
    |(?:\u56e0\u6b64|\u6240\u4ee5|\u6545|\u7efc\u4e0a(?:\u6240\u8ff0)?)?[,\uff0c]?\s*(?:\u6b63\u786e|\u6700\u7ec8)?(?:\u7684)?(?:\u7b54\u6848|\u9009\u9879)
    (?:\u5e94\u8be5?|\u5e94\u5f53)?(?:\u662f|\u4e3a|\uff1a|:)\s*(?:\u9009\u9879)?)
    [("'*\[\u201c]*(?P<letter>[A-D])[)"'*\]\u201d]*\s*[.!\u3002]?[*"]*\s*\Z
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""A last clause such as "so the correct answer is B.": it adds nothing to a reply that ends with the letter."""
_STOPS = ".!?)\"'\u3002\uff01\uff1f\u201d"
_HAN = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


def _without_media(text: str) -> str:
    """A text without the media placeholders of trainers (``<image>``, ``<video>``, ``<audio>``)."""
    return _MEDIA.sub("< ", text)


_MEDIA = re.compile("<(?=(?:image|video|audio)>)")


def question_value(question: AnyQuestion) -> dict[str, Any]:
    """A question as `PARSED_REASONING`; the moments of an order are lines of its text."""
    text = question.question
    if isinstance(question, KeyedQuestion) and isinstance(question.key, OrderKey):
        text = "\n".join([text, *(f"{number}. {item}" for number, item in enumerate(question.key.items, start=1))])
    return {
        "QUESTION": text,
        "OPTIONS": dict(question.options) if isinstance(question, Question) else None,
        "ANSWER": question.key_text,
        "REASONS": [
            {
                "step": f"Step {number}",
                "timestamp": step.timestamp,
                "start_s": step.span.start_s,
                "end_s": step.span.end_s,
                "reasons": list(step.reasons),
                "clip_ids": list(step.clip_ids),
            }
            for number, step in enumerate(question.steps, start=1)
        ],
    }


def answer_value(question: AnyQuestion) -> dict[str, Any]:
    """The key of a question as `ANSWER`."""
    if isinstance(question, Question):
        return {"letter": question.answer}
    key = question.key
    match key:
        case SpanKey():
            return {"spans": [{"start_s": span.start_s, "end_s": span.end_s} for span in key.spans]}
        case NumberKey():
            return {"number": key.number, "tolerance": key.tolerance, "unit": key.unit or None}
        case OrderKey():
            return {"order": list(key.order)}
        case OpenKey():
            return {"text": key.text, "accepted": list(key.accepted), "rubric": key.rubric or None}


def open_twin(question: AnyQuestion) -> dict[str, str | None]:
    """The open-ended version of a question, as columns: null if the stem makes no sense without its options."""
    if isinstance(question, KeyedQuestion):
        is_open = isinstance(question.key, OpenKey)
        return {
            "open_question": question.question if is_open else None,
            "open_answer": question.key.text if is_open else None,
        }
    if _NEEDS_OPTIONS.search(question.question):
        return {"open_question": None, "open_answer": None}
    return {"open_question": question.question, "open_answer": question.options[question.answer]}


_NEEDS_OPTIONS = re.compile(
    r"\b(?:which|what|who|where|when)\s+(?:one\s+)?(?:of|among)\s+(?:the|these|those|them)\b|\b(?:of|among|from)\s+(?:these|those)\b"
    r"|\bfollowing\b|\b(?:options?|choices?|statements?|alternatives?)\b|\bnot\b[^.?]*\?$|\bexcept\b"
    r"|\bfolgende[nmrs]?\b|\bwelche[rsnm]?\s+(?:der|dieser)\b|\bsuivant|\bsiguiente|以下|下列|次の",
    re.IGNORECASE,
)
"""Words by which a stem refers to its options, or asks for the option that is false."""


def checks_value(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as `CHECKS`."""
    return [
        {
            "check": verdict.check,
            "passed": verdict.passed,
            "action": verdict.action or None,
            "reason": verdict.reason or None,
            "score": verdict.score,
            "tries": verdict.tries,
            "calls": verdict.usage.calls,
            "input_tokens": verdict.usage.input_tokens,
            "output_tokens": verdict.usage.output_tokens,
            "cost_usd": verdict.usage.cost_usd,
            "cached_tokens": verdict.usage.cached_tokens,
            "cache_write_tokens": verdict.usage.cache_write_tokens,
            "reasoning_tokens": verdict.usage.reasoning_tokens,
        }
        for verdict in verdicts
    ]
