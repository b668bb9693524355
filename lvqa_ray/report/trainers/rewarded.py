"""Formats for reinforcement learning with verifiable rewards: verl, EasyR1, EasyVideoR1, Video-R1 and Long-RL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvqa_ray.report.trainers.training_sample import Sample

if TYPE_CHECKING:
    import pyarrow as pa

VERL_SOURCE = "lvqa"
"""Value of verl's ``data_source``: its own reward functions know no such source, so `lvqa_ray.rewards` grades it."""

EASYVIDEOR1_TYPES: Mapping[str, str] = {
    "choice": "multiple choice",
    "number": "numerical",
    "span": "temporal grounding",
    "open": "open-ended",
}
VIDEO_R1_TYPES: Mapping[str, str] = {"choice": "multiple choice", "number": "numerical", "open": "free-form"}


def verl(sample: Sample) -> dict[str, Any]:
    """Rows for verl: chat prompt, videos, ground truth, and what the reward function needs."""
    return {
        "data_source": VERL_SOURCE,
        "prompt": [{"role": "user", "content": f"<video>{sample.prompt}"}],
        "videos": [{"video": sample.video}],
        "ability": sample.category,
        "reward_model": {"style": "rule", "ground_truth": sample.answer},
        "extra_info": {"index": sample.id, "kind": sample.kind, "record": json.dumps(sample.typed, ensure_ascii=False)},
    }


def verl_schema() -> pa.Schema:
    """Arrow schema of the Parquet file for verl."""
    import pyarrow as pa  # noqa: PLC0415 - Arrow takes a second to import

    text = pa.string()
    return pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("videos", pa.list_(pa.struct([("video", text)]))),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pa.struct([("index", text), ("kind", text), ("record", text)])),
        ]
    )


def easyr1(sample: Sample) -> dict[str, Any] | None:
    """Rows for EasyR1: ``<video>`` in the problem, videos as a list, the bare answer.

    Returns:
        ``None`` for an answer that EasyR1's reward compares as text: a span, an order or an open answer.
    """
    if sample.kind not in {"choice", "number"}:
        return None
    return {
        "problem_id": sample.id,
        "problem": f"<video>{sample.prompt}",
        "answer": sample.answer,
        "videos": [sample.video],
        "data_type": "video",
        "problem_type": sample.category,
    }


def easyvideor1(sample: Sample) -> dict[str, Any] | None:
    """Rows for EasyVideoR1: options as a list, and a problem type that its reward function knows.

    Returns:
        ``None`` for an order, or for several spans: its rewards grade neither.
    """
    if sample.kind not in EASYVIDEOR1_TYPES:
        return None
    answer = sample.answer
    if sample.kind == "span":
        spans = sample.typed["typed_answer"]["spans"]
        if len(spans) != 1:
            return None
        answer = json.dumps({"time": [spans[0]["start_s"], spans[0]["end_s"]]})
    return {
        "problem_id": sample.id,
        "problem": f"<video>{sample.question}",
        "options": list(sample.options),
        "answer": answer,
        "videos": [sample.video],
        "data_type": "video",
        "problem_type": EASYVIDEOR1_TYPES[sample.kind],
        "data_source": sample.category,
    }


def video_r1(sample: Sample) -> dict[str, Any] | None:
    """Rows for Video-R1: ``process`` and ``solution`` for fine-tuning, ``solution`` for the reward.

    Its loader reads ``./Video-R1-data`` followed by ``path`` without the first character.

    Returns:
        ``None`` for a span or an order, which its reward does not grade.
    """
    if sample.kind not in VIDEO_R1_TYPES:
        return None
    return {
        "problem_id": sample.id,
        "problem": f"{sample.question}\n",
        "data_type": "video",
        "problem_type": VIDEO_R1_TYPES[sample.kind],
        "options": list(sample.options),
        "process": f"<think>{sample.reasoning}</think>",
        "solution": f"<answer>{sample.answer}</answer>",
        "path": f"./{sample.video.lstrip('/')}",
        "data_source": sample.category,
    }


def long_rl(sample: Sample) -> dict[str, Any] | None:
    """Rows for Long-RL: options in the problem, the path of one video, the bare answer.

    Returns:
        ``None`` for an answer that its reward compares as text: a span, an order or an open answer.
    """
    if sample.kind not in {"choice", "number"}:
        return None
    return {
        "problem_id": sample.id,
        "data_type": "video",
        "videos": sample.video,
        "problem": sample.prompt,
        "problem_type": sample.category,
        "reasoning": sample.reasoning,
        "answer": sample.answer,
    }
