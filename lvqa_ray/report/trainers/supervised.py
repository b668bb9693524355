"""Supervised fine-tuning formats: Qwen-VL, LLaMA-Factory, ms-swift and trl."""

from __future__ import annotations

import json
from typing import Any

from lvqa_ray.report.trainers.training_sample import Sample


def qwen_vl(sample: Sample) -> dict[str, Any]:
    """Qwen-VL fine-tuning: ``conversations`` in which ``<video>`` marks the place of ``video``."""
    return {"id": sample.id, "video": sample.video, "conversations": _turns(sample, "<video>\n")}


def llava(sample: Sample) -> dict[str, Any]:
    """LLaVA-NeXT ``conversations`` with one turn about a video.

    The placeholder is ``<image>`` for videos too: LLaVA-NeXT's trainer inserts frames only there.
    """
    return {"id": sample.id, "video": sample.video, "conversations": _turns(sample, "<image>\n")}


def sharegpt(sample: Sample) -> dict[str, Any]:
    """ShareGPT messages with a separate list of videos, as LLaMA-Factory expects."""
    return {"conversations": _turns(sample, "<video>"), "videos": [sample.video], "id": sample.id}


def ms_swift(sample: Sample) -> dict[str, Any]:
    """ms-swift ``messages`` and ``videos``; GRPO's reward functions receive ``solution``."""
    return {
        "id": sample.id,
        "messages": [
            {"role": "user", "content": f"<video>{sample.prompt}"},
            {"role": "assistant", "content": sample.reply},
        ],
        "videos": [sample.video],
        "solution": f"<answer>{sample.answer}</answer>",
    }


def trl(sample: Sample) -> dict[str, Any]:
    """Prompt and completion for trl, as content blocks; its reward functions receive ``solution`` and ``record``.

    `datasets` fills the keys that a block lacks with nulls: trl's `remove_none_values` removes them.
    """
    return {
        "id": sample.id,
        "prompt": [
            {
                "role": "user",
                "content": [{"type": "video", "video": sample.video}, {"type": "text", "text": sample.prompt}],
            }
        ],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": sample.reply}]}],
        "solution": sample.answer,
        "record": json.dumps(sample.typed, ensure_ascii=False),
    }


def _turns(sample: Sample, media: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": f"{media}{sample.prompt}"}, {"from": "gpt", "value": sample.reply}]
