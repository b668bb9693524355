"""The trainers' own readers load our exports; runs in the environment of `requirements.txt`, see the Makefile."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

MADE = Path(os.environ["LVQA_EXPORTS"])


def lines(form: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (MADE / f"{form}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_verl() -> None:
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset

    config = OmegaConf.create({"filter_overlong_prompts": False, "cache_dir": str(MADE / "verl-cache")})
    rows = RLHFDataset(str(MADE / "verl.parquet"), tokenizer=None, config=config, processor=object())
    assert len(rows) == len(lines("easyr1"))
    row = rows[0]
    (message,) = row["raw_prompt"]
    assert [part["type"] for part in message["content"]] == ["video", "text"]
    assert Path(message["content"][0]["video"]).is_file()
    assert row["reward_model"]["ground_truth"] in "ABCD"


def test_verl_opens_the_video() -> None:
    from qwen_vl_utils import fetch_video

    frames = fetch_video({"video": str(MADE / "films" / "film.mp4"), "nframes": 4})
    assert len(frames) == 4


def test_llamafactory() -> None:
    from types import SimpleNamespace

    from datasets import load_dataset
    from llamafactory.data.converter import SharegptDatasetConverter
    from llamafactory.data.parser import get_dataset_list

    folder = MADE / "llamafactory"
    for attr in get_dataset_list(["lvqa_train", "lvqa_test"], str(folder)):
        rows = load_dataset("json", data_files=str(folder / attr.dataset_name), split="train")
        convert = SharegptDatasetConverter(attr, SimpleNamespace(media_dir=str(folder)))
        for made in map(convert, rows):
            (asked,), (answered,) = made["_prompt"], made["_response"]
            assert (asked["role"], answered["role"]) == ("user", "assistant")
            assert asked["content"].count("<video>") == len(made["_videos"]) == 1
            assert "<video>" not in answered["content"]


def test_ms_swift() -> None:
    from swift.dataset import load_dataset

    rows, _ = load_dataset(str(MADE / "ms-swift.jsonl"), split_dataset_ratio=0)
    assert len(rows) == len(lines("ms-swift"))
    row = rows[0]
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
    assert row["messages"][0]["content"].count("<video>") == len(row["videos"]) == 1


def test_trl() -> None:
    from datasets import load_dataset
    from trl.data_utils import is_conversational
    from trl.trainer.utils import remove_none_values

    rows = load_dataset("json", data_files=str(MADE / "trl.jsonl"), split="train").with_transform(remove_none_values)
    row = {name: values[0] for name, values in rows[:1].items()}
    assert is_conversational(row)
    assert [set(part) for part in row["prompt"][0]["content"]] == [{"type", "video"}, {"type", "text"}]


def test_lmms_eval() -> None:
    from lmms_eval.tasks import TaskManager, get_task_dict

    manager = TaskManager(include_path=str(MADE / "lmms-eval"))
    task = get_task_dict(["lvqa"], manager)["lvqa"]
    docs = list(task.test_docs())
    assert docs
    for doc in docs:
        assert "<video>" not in task.doc_to_text(doc)
        assert all(Path(path).is_file() for path in task.doc_to_visual(doc))
        assert task.process_results(doc, [f"<answer>{task.doc_to_target(doc)}</answer>"]) == {"reward": 1.0}
        wrong = "A" if task.doc_to_target(doc) != "A" else "B"
        assert task.process_results(doc, [f"<answer>{wrong}</answer>"]) == {"reward": 0.0}


def test_webdataset() -> None:
    import webdataset

    shards = [str(path) for path in sorted((MADE / "webdataset").glob("train-*.tar"))]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
    assert samples
    for sample in samples:
        assert {"mp4", "json", "txt"} <= set(sample)
        assert json.loads(sample["json"])["caption"] is None or sample["txt"]


@pytest.mark.parametrize("form", ["easyr1", "easyvideor1"])
def test_easyr1_rewards_the_gold_answer_alone(form: str) -> None:
    """The accuracy of EasyR1's r1v reward: mathruler's `grade_answer` on what is in the tag."""
    from mathruler.grader import grade_answer

    for row in lines(form):
        assert grade_answer(row["answer"], row["answer"])
        assert not grade_answer("A" if row["answer"] != "A" else "B", row["answer"])
        assert isinstance(row["videos"], list)
        assert row["problem"].count("<video>") == 1


def test_verl_grades_with_our_reward_function() -> None:
    """verl loads the function from its file, as its configuration names it."""
    import datasets
    from omegaconf import OmegaConf
    from verl.trainer.ppo.reward import get_custom_reward_fn

    import lvqa_ray.rewards

    config = {"custom_reward_function": {"path": lvqa_ray.rewards.__file__, "name": "compute_score"}}
    grade = get_custom_reward_fn(OmegaConf.create({"reward": config}))
    assert grade is not None
    for row in datasets.load_dataset("parquet", data_files=str(MADE / "verl.parquet"), split="train"):
        truth = row["reward_model"]["ground_truth"]
        for letter in "ABCD":
            given = grade(
                data_source=row["data_source"],
                solution_str=f"<think>x</think><answer>{letter}</answer>",
                ground_truth=truth,
                extra_info=row["extra_info"],
            )
            assert given == float(letter == truth)


def test_preference_pairs_of_llamafactory() -> None:
    from types import SimpleNamespace

    from datasets import load_dataset
    from llamafactory.data.converter import SharegptDatasetConverter
    from llamafactory.data.parser import DatasetAttr

    attr = DatasetAttr("file", "dpo-llamafactory.jsonl", formatting="sharegpt", ranking=True)
    attr.chosen, attr.rejected, attr.videos = "chosen", "rejected", "videos"
    rows = load_dataset("json", data_files=str(MADE / "dpo-llamafactory.jsonl"), split="train")
    assert len(rows)
    for made in map(SharegptDatasetConverter(attr, SimpleNamespace(media_dir=str(MADE))), rows):
        (asked,), (chosen, rejected) = made["_prompt"], made["_response"]
        assert asked["content"].count("<video>") == len(made["_videos"]) == 1
        assert chosen["content"] != rejected["content"]


def test_preference_pairs_of_ms_swift() -> None:
    from swift.dataset import load_dataset

    rows, _ = load_dataset(str(MADE / "dpo-ms-swift.jsonl"), split_dataset_ratio=0)
    assert len(rows) == len(lines("dpo-ms-swift")) > 0
    assert rows[0]["rejected_response"] != rows[0]["messages"][-1]["content"]


def test_preference_pairs_of_trl() -> None:
    from datasets import load_dataset
    from trl.data_utils import is_conversational, maybe_extract_prompt

    row = load_dataset("json", data_files=str(MADE / "dpo.jsonl"), split="train")[0]
    assert is_conversational(row)
    assert maybe_extract_prompt(row)["prompt"] == row["prompt"]
