"""The Arrow types of what is told of a question, and how its values are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from lvqa_ray.records.questions import LETTERS, Question, Verdict

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
                    ]
                )
            ),
        ),
    ]
)
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
        ]
    )
)


def question_value(question: Question) -> dict[str, Any]:
    """A question as `PARSED_REASONING`."""
    return {
        "QUESTION": question.question,
        "OPTIONS": dict(question.options),
        "ANSWER": question.answer,
        "REASONS": [
            {
                "step": f"Step {number}",
                "timestamp": step.timestamp,
                "start_s": step.start_s,
                "end_s": step.end_s,
                "reasons": list(step.reasons),
            }
            for number, step in enumerate(question.steps, start=1)
        ],
    }


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
        }
        for verdict in verdicts
    ]
