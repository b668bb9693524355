"""What a record is in another tool's words: one function a format, row in, JSON object out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from lvqa_ray.qa.report_letters import without_letters
from lvqa_ray.records.question_columns import training_messages

Row = Mapping[str, Any]
Make = Callable[[Row], dict[str, Any] | None]

DATAFLOW = (
    "id",
    "captions",
    "num_clips",
    "conversation",
    "reasoning",
    "parsed_reasoning",
    "prompt",
    "full_question",
    "reformatted_reasoning",
)
"""The reference's columns in its order; here alone the rewriting prompt has the reference's names."""
_REWRITING = ("conversation", "prompt")
_USED = ["id", "video", "video_id", "category", "parsed_reasoning", "full_question", "reformatted_reasoning"]
_OPEN = ["id", "video", "category", "open_question", "open_answer", "reformatted_reasoning"]


def dataflow(record: Row) -> dict[str, Any]:
    """The reference's columns, with its steps as a dictionary."""
    parsed = record["parsed_reasoning"]
    steps = {step["step"]: {"timestamp": step["timestamp"], "reasons": step["reasons"]} for step in parsed["REASONS"]}
    extra = {key: value for key, value in json.loads(record["extra"]).items() if key not in DATAFLOW}
    prompt = record["rewrite_prompt"]
    own = {"conversation": [{"from": "human", "value": prompt}], "prompt": prompt}
    own["parsed_reasoning"] = {**parsed, "REASONS": steps}
    return {key: own[key] if key in own else record[key] for key in DATAFLOW} | extra


def llava(record: Row) -> dict[str, Any]:
    """One turn of LLaVA's ``conversations`` about a video; the right letter is the last word.

    ``<image>`` stands for the video too: LLaVA-NeXT's trainer puts frames there and nowhere else.
    """
    return {"id": record["id"], "video": record["video"], "conversations": _turn(record, "<image>\n")}


def sharegpt(record: Row) -> dict[str, Any]:
    """The same as ShareGPT messages, with the media beside them as LLaMA-Factory and its like expect."""
    return {"conversations": _turn(record, "<video>"), "videos": [record["video"]]}


def long_rl(record: Row) -> dict[str, Any]:
    """Long-RL's fields as its own data has them: options in the problem, the category as its type, a tagged letter."""
    return {
        "problem_id": record["id"],
        "data_type": "video",
        "videos": record["video"],
        "problem": record["full_question"],
        "problem_type": record["category"] or "general",
        "reasoning": record["reformatted_reasoning"],
        "answer": f"<answer>{record['parsed_reasoning']['ANSWER']}</answer>",
    }


def open_ended(record: Row) -> dict[str, Any] | None:
    """The question without its options, and the right one's text as the answer; sentences that name a letter are cut.

    Returns:
        Nothing for a question that cannot be asked without its options, such as "Which of these ...?".
    """
    if record["open_question"] is None:
        return None
    return {
        "id": record["id"],
        "video": record["video"],
        "question": record["open_question"],
        "answer": record["open_answer"],
        "reasoning": without_letters(record["reformatted_reasoning"]),
        "category": record["category"],
    }


def _turn(record: Row, media: str) -> list[dict[str, str]]:
    asked, told = training_messages(
        record["full_question"], record["reformatted_reasoning"], record["parsed_reasoning"]["ANSWER"]
    )
    return [{"from": "human", "value": f"{media}{asked['content']}"}, {"from": "gpt", "value": told["content"]}]


FORMATS: Mapping[str, tuple[Make, list[str], bool]] = {
    "dataflow-json": (
        dataflow,
        [*(name for name in DATAFLOW if name not in _REWRITING), "rewrite_prompt", "extra"],
        True,
    ),
    "llava": (llava, _USED, False),
    "sharegpt": (sharegpt, _USED, False),
    "long-rl": (long_rl, _USED, False),
    "open-ended": (open_ended, _OPEN, False),
}
"""What makes an object of a record, the columns that it needs, and whether the file is one array or has a line each."""
