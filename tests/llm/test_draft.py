"""Drafts, wrappers and chat-template tokens are no part of an answer, and text about them is."""

# ruff: noqa: RUF001 -- full-width signs are part of some templates

from __future__ import annotations

import json
import time

import pytest

from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.formats.analysis_replies import read_fields

A = "A block moves to the right."
D = "DRAFT the user wants a description."
MARKED = [
    f"<think>{D}</think>{A}",
    f"<thought>\n{D}\n</thought>\n\n{A}",
    f"◁think▷{D}◁/think▷{A}",
    f"[THINK]{D}[/THINK]{A}",
    f"<seed:think>{D}<seed:cot_budget_reflect>x</seed:cot_budget_reflect>more</seed:think>{A}",
    f"<|channel|>analysis<|message|>{D}<|end|><|start|>assistant<|channel|>final<|message|>{A}<|return|>",
    f"analysis{D}assistantfinal{A}",
    f"analysis<|message|>{D}<|end|><|start|>assistant<|channel|>final<|message|>{A}",
    f"<|channel|>commentary<|message|>{D}<|end|><|start|>assistant<|channel|>final <|constrain|>text<|message|>{A}",
    f"{D}</think>{A}",
    f"draft without point</think>\n\n{A}",
    f"{D}\n</think>\n{A}",
    f"</think>{D}</think>{A}",
    f"<reasoning_steps>{D}</reasoning_steps>{A}",
    f"<visual-thoughts>{D}</visual-thoughts>\n{A}",
    f"<plan>{D}</plan><observe>{D}</observe><answer>{A}</answer>",
    f"【思考】{D}【/思考】\n{A}",
    f"思考过程：{D}\n\n最终答案：{A}",
    f"**Thinking:**\n{D}\n\n**Answer:**\n{A}",
    f"Thinking Process:\n\n1. **Analyze:** {D}\n</think>\n\n{A}",
    f"### Reasoning\n{D}\n\n### Caption\n{A}",
    f"(Here begins the REASONING stage){D}(Here ends the REASONING stage)\n"
    f"(Here begins the CONCLUSION stage){A}(Here ends the CONCLUSION stage)",
    f"ASSISTANT: {A}",
    f"< Think duration='3s' >{D}</ THINK >{A}",
    f"<think>a<think>{D}</think>{A}",
    f"<think>{D}<think>b</think>c</think>{A}",
    f"{A}<think>{D}</think>",
    f"{A}\n\n<thinking>\n{D}\n</thinking>\n",
    "A block moves to the right.</s>",
    f"{A}<|im_end|>",
    f"{A}<|im_end|>\n<|im_start|>user\nNext?<|im_end|>",
    f"<|im_start|>assistant\n{A}<|eot_id|>",
    f"<start_of_turn>model\n{A}<end_of_turn>",
    f"{A}[/INST]",
    f"{A}<|endoftext|>",
    f"{A}<｜end▁of▁sentence｜>",
    f"<s> {A}</s>",
    f"{A} [/INST]</s>",
    f"<answer>{A}</answer>",
    f"<think>{D}</think><answer><|begin_of_box|>{A}<|end_of_box|></answer>",
    f"<response>\n{A}\n</response>",
    f"<think>{D}</think>\n<response>{A}</response>",
    f"<|begin_of_box|>{A}<|end_of_box|>",
    f"\\boxed{{\\text{{{A}}}}}",
    f"Here is my thought process:\n{D}\nHere is my response:\n{A}",
    f"<|START_THINKING|>{D}<|END_THINKING|><|START_RESPONSE|>{A}<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
    f"<|inner_prefix|>{D}<|inner_suffix|>{A}",
    f"<|channel>thought\n{D}<channel|>{A}<turn|>",
    f"<|begin_of_thought|>{D}<|end_of_thought|><|begin_of_solution|>{A}<|end_of_solution|>",
    f"<|think|>{D}<|end|><|begin|>assistant<|content|>{A}<|end|>",
    f"&lt;think&gt;{D}&lt;/think&gt;{A}",
    f"\\u003cthink\\u003e{D}\\u003c/think\\u003e{A}",
    f"<SUMMARY>x</SUMMARY>\n\n<CAPTION>y</CAPTION>\n\n<REASONING>{D}</REASONING>\n\n<CONCLUSION>{A}</CONCLUSION>",
    f"<think>{D}</thinking>{A}",
    f"Thinking...\n{D}\n...done thinking.\n\n{A}",
    f'<details type="reasoning" done="true">\n<summary>Thought</summary>\n> {D}\n</details>\n{A}',
    f"```thinking\n{D}\n```\n{A}",
    f"*Thinking...*\n\n> {D}\n> more\n\n{A}",
    f"<reflection>{D}</reflection>\n<output>{A}</output>",
    f"<think/>{A}".replace("<think/>", "<think></think>"),
    f"<caption>{A}</caption>",
    f"<thinking>{D}</thinking><thinking>{D}</thinking>\n{A}",
    f"{A}</answer>",
    f"<answer>{A}",
    f"<longcat_think>{D}</longcat_think>{A}",
    f"[|assistant|]{A}[|endofturn|]",
    f"<think:opensource>{D}</think:opensource>{A}",
    f"assistant\n\n{A}",
    f"<image>\n{A}",
    f"<thought>{D}</thought>\n\n<answer>\n{A}\n</answer>\n<|im_end|>",
    f"<思考>{D}</思考>{A}",
    f"<|assistant|>\n{A}<|user|>",
    f"<think>{D}</think>\n\n{A}<|end|>",
    "[e~[".join([A, ""]),
]
NO_ANSWER = [
    f"<think>{D}",
    f"{A}\n<think>{D}",
    f"<|channel|>analysis<|message|>{D}",
    f"analysis{D}",
    f"<think>{D}</think>",
    f"Here is my thought process: {D}",
    f"<thought>\n{D}",
    f"[THINK]{D}",
    f"A block moves <think>{D}</think>",
    "A block moves <think> the user wants a description </think>",
    f"<|START_THINKING|>{D}",
    f'<details type="reasoning">{D}',
    f"◁think▷{D}",
]
TEXT = [
    "The screen shows the HTML tag <answer> in a code editor.",
    'A terminal prints "<think>" and "</think>" in green.',
    "A slide explains `<think>` tags.",
    "It shows 3 < 5 and x > 2.",
    "I think the man leaves.",
    "The page contains <think> and </think> tags.",
    "A slide says <thinking>, then it changes.",
    "Price <s>old</s> new is shown on the page.",
    "A browser shows <div><answer>42</answer></div> in HTML.",
    "He writes <b>bold</b> text. <answer> is an element.",
    "The text [thinking] appears in a subtitle.",
    "[thinking] A man sits.",
    "A [MUSIC] caption appears.",
    "if (a<b && c>d) { think(); }",
    "<html> is written at the top of the screen.",
    "The response code is <response> in XML, then </response> follows.",
    "A chart: 1 <| 2 |> 3",
    "The user presses the <Enter> key; <Output> appears in the log.",
    "Analysis of the data begins. Final results appear.",
    "Analysis: the chart rises.",
    "analysis of the room shows a bed.",
    "final score 3-2 on the board",
    "The code is `<|im_start|>`...".replace("`<|im_start|>`", "`x`"),
    "A person in a “<reasoning>” shirt.",
]


@pytest.mark.parametrize("reply", MARKED)
def test_the_answer_is_found(reply: str) -> None:
    assert strip_thinking(reply) == A


@pytest.mark.parametrize("reply", NO_ANSWER)
def test_a_draft_never_passes_for_an_answer(reply: str) -> None:
    assert strip_thinking(reply) == ""


@pytest.mark.parametrize("reply", TEXT)
def test_text_about_tags_survives(reply: str) -> None:
    assert strip_thinking(reply) == reply


@pytest.mark.parametrize(
    "piece", ["<", "<think>", "</think>", "<|end|>", "<answer>", "</s>", " ", "<|channel|>a", "\n"]
)
def test_long_replies_end_soon(piece: str) -> None:
    started = time.process_time()
    strip_thinking(f"a{piece * 20_000}b")
    assert time.process_time() - started < 5


def test_fields_of_json_are_cleaned_once_they_are_decoded() -> None:
    said = {"title": "\x1b[1mA \u202eblock<|im_end|>", "tags": ["<think>DRAFT</think>red"], "highlights": ["It moves."]}
    assert read_fields(json.dumps(said)) == {"title": "A block", "tags": ["red"], "highlights": ["It moves."]}
