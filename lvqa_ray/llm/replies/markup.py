"""Markup of chat templates and reasoning models in replies: one table of patterns, each with its source.

`thinking_tags` applies the table. There are three kinds of markup: *drafts* (a reasoning model's thinking before its
answer), *wrappers* (around the answer itself), and *template tokens* (which the server should have removed).
"""

# ruff: noqa: RUF001 -- full-width signs are part of some templates

from __future__ import annotations

import re
from dataclasses import dataclass

_LT, _GT = r"(?:[<＜]|&lt;|\\u003c)", r"(?:[>＞]|&gt;|\\u003e)"
"""Angle brackets, also as escaped in HTML and JSON by proxies that render replies (Open WebUI, LibreChat)."""

DRAFT_NAMES = (
    r"think(?:ing|_fast|_faster|_never|_off)?"  # DeepSeek-R1, Qwen3, GLM, MiniMax, Kimi; Anthropic; K2-Think
    r"|thoughts?"  # Gemini's compatible endpoint (include_thoughts), EXAONE Deep, Marco-o1
    r"|thought_?process|thinking_?process|reasoning_?process|chain_?of_?thought|cot"  # usual in prompts
    r"|reason(?:ing)?(?:_content|_scratchpad)?"  # Reka, LLaVA-CoT, Hermes 3
    r"|reflection|reflexion|self_?reflection"  # Reflection-70B
    r"|scratch_?pad|(?:inner|internal)_?(?:monologue|thoughts?|voice|reasoning)|monologue"  # Anthropic's prompt guide
    r"|analysis|rationale|planning|deliberation|introspection|brainstorm(?:ing)?"  # prompts of video RL models
    r"|cot_budget_reflect"  # Seed-OSS, inside <seed:think>
    r"|longcat_think"  # LongCat-Flash-Thinking
    r"|思考(?:过程)?|推理(?:过程)?|思维链|分析过程"  # Chinese prompts
)
"""Tag names of drafts. A namespace may precede them: <seed:think> (Seed-OSS), <thinking>."""

_XML_NAMES = (
    rf"{DRAFT_NAMES}"
    r"|plan|observ(?:e|ation)s?|critique|self_?critique|drafts?|verification|self_?check"  # prompts of agents
    # Any name made of such a word: <reasoning_steps>, <think_step_1>, <internal-analysis>, <visual_thoughts>
    r"|(?:[a-z]+[_-])+(?:think(?:ing)?|thoughts?|reasoning|analysis|reflection)(?:[_-]\w{1,12}){0,2}"
    r"|(?:think(?:ing)?|thoughts?|reasoning|analysis|reflection)(?:[_-]\w{1,12}){1,2}"
    r"|tool_?calls?|function_?calls?|tool_?code|tool_?responses?"  # Hermes, Qwen, GLM: no answers
)
"""Tag names of drafts in angle brackets only; in square brackets such a name may be a remark or a label."""

WRAPPER_NAMES = (
    r"answer|final_?answer|final"  # GLM-4.1V, Hunyuan-A13B, Video-R1
    r"|(?:final_?)?response"  # Granite 3.2, ERNIE 4.5
    r"|output"  # Marco-o1, Reflection-70B
    r"|conclusion|solution|result|reply"  # LLaVA-CoT, Sky-T1
    r"|回答|答案"  # Chinese prompts
)
"""Tag names of wrappers; text before the wrapper only introduces it."""

WHOLE_NAMES = r"caption|description|summary|title|text|content|message|video_caption"
"""Tag names that are removed only if they enclose the whole answer."""

_ATTRIBUTES = r"(?:\s[^<>]{0,200}?)?"
_TAGS = (
    # <think>, </think>, < Think >, <think duration="3">, <think:6124c78e> (Hunyuan)
    rf"{_LT}\s*(?P<xml_close>/?)\s*(?:[a-z_]{{1,12}}:)?(?:{_XML_NAMES})(?::\w{{1,20}})?{_ATTRIBUTES}(?P<empty>/?)\s*{_GT}",
    r"◁(?P<kimi_close>/?)\s*think\s*▷",  # Kimi-VL
    rf"\[(?P<bracket_close>/?)(?:{DRAFT_NAMES})\]",  # Magistral: [THINK]
    rf"<\|(?P<bar_close>/?)(?:{DRAFT_NAMES})\|>",  # Solar Open: <|think|>
    r"【(?P<lens_close>/?)(?:思考|推理)(?:过程)?】",  # Chinese prompts
    r"\(Here (?:begins|(?P<stage_ends>ends)) the (?:SUMMARY|CAPTION|REASONING) stage\)",  # LLaVA-CoT, as trained
    # Sky-T1 and OpenThinker: <|begin_of_thought|>; Command A Reasoning: <|START_THINKING|>
    rf"<\|(?:(?P<end_of>end)|begin|start)_(?:of_)?(?:{DRAFT_NAMES})\|>",
    r"<\|inner_(?:prefix|(?P<suffix>suffix))\|>",  # Apertus
    r"<\|channel>\s*(?:thought|thinking|analysis|reasoning)\b|(?P<gemma_close><channel\|>)",  # Gemma 4
)
DRAFT_TAG = re.compile("|".join(f"(?:{tag})" for tag in _TAGS), re.IGNORECASE)
CLOSES = (
    "xml_close",
    "kimi_close",
    "bracket_close",
    "bar_close",
    "lens_close",
    "stage_ends",
    "end_of",
    "suffix",
    "gemma_close",
)
"""Groups of `DRAFT_TAG` that are non-empty for a closing tag."""


@dataclass(frozen=True, slots=True)
class Block:
    """A draft without a pair of tags.

    Attributes:
        start: Pattern of the beginning of the reply.
        end: Pattern of the end of the draft; the answer follows.
        source: The model or server that writes it.
    """

    start: re.Pattern[str]
    end: re.Pattern[str]
    source: str


def _block(start: str, end: str, source: str) -> Block:
    flags = re.IGNORECASE | re.DOTALL
    return Block(re.compile(start, flags), re.compile(end, flags), source)


def _heading(names: str) -> str:
    """Pattern of a heading line, in Markdown or with a colon."""
    name = rf"(?:(?:my |the )?final |最终)?(?:{names})"
    return (
        rf"(?:#{{1,4}}\s*(?:\*\*)?{name}(?:\*\*)?\s*[:：]?\s*(?:\n|\Z)"
        rf"|(?:\*\*|__)?{name}(?:[:：](?:\*\*|__)?|(?:\*\*|__)\s*[:：]?|\s*(?=\n)))"
    )


_THINKING = r"thinking|thoughts?|(?:thinking|thought|reasoning) process|chain of thought|思考(?:过程)?|思维链"
_ANSWER = "answer|response|output|reply|caption|description|回答|答案|描述"
_SHOWN = "caption|description|video description|描述"

BLOCKS = (
    _block(
        r"\s*here(?:'s|’s| is) my (?:thought|thinking|reasoning)(?: process)?\s*:",
        r"here(?:'s|’s| is) my (?:final )?(?:response|answer)\s*:",
        "Granite 3.1 and 3.2 (vLLM, granite_reasoning_parser.py)",
    ),
    _block(r"\s*thinking\.\.\.\s*\n(?!\s*>)", r"\n[^\S\n]*\.{3}done thinking\.?", "ollama run, without --hidethinking"),
    _block(r"\s*\*?_?thinking\.\.\._?\*?\s*\n\s*>", r"\n(?=[^>\s])", "Poe and OpenRouter clients: a quoted block"),
    _block(r"\s*```(?:think|thinking|thoughts?|reasoning)\b", r"\n```[^\S\n]*(?:\n|$)", "a fenced block"),
    _block(
        r"\s*<details\b[^>]*(?:type\s*=\s*[\"']?reasoning|>\s*<summary>\s*(?:thought|thinking|reasoning))",
        r"</details>",
        "Open WebUI, SiliconFlow and other proxies that render drafts",
    ),
    _block(
        rf"\s*(?:#{{1,4}}\s*)?(?:\*\*|__)?(?:{_THINKING})(?:\*\*|__)?\s*"
        rf"(?:[:：]?(?:\*\*|__)?[^\S\n]*\n|[:：](?:\*\*|__)?(?=.*(?:</think>|\n\s*{_heading(_ANSWER)})))",
        rf"(?:</think>|\n\s*{_heading(_ANSWER)})",
        "headings instead of tags: Qwen3.5 without its opening tag, and prompts that ask to think step by step",
    ),
    _block(
        rf"\s*{_heading('reasoning|analysis|rationale|推理(?:过程)?|分析')}(?=.*\n\s*{_heading(_SHOWN)})",
        rf"\n\s*{_heading(_SHOWN)}",
        "the same; reasoning is what some stages ask for, so it is a draft only before a caption",
    ),
    _block(
        r"\s*analysis(?=[A-Z<\"'“])(?-i:.)",
        r"assistant\s*(?:<\|channel\|>)?\s*final(?:<\|message\|>)?",
        "gpt-oss, special tokens skipped (vLLM #22578)",
    ),
)

HARMONY = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w+)(?P<header>.{0,200}?)<\|message\|>(?P<text>.*?)"
    r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
"""Messages of gpt-oss (openai/harmony); only those in the channel ``final`` are an answer."""
HARMONY_CUT = re.compile(r"\s*(?:<\|start\|>\s*)?(?:assistant\s*)?(?=(?:analysis|commentary|final)<\|message\|>)")
"""The start of such a reply if the server has swallowed its first tokens."""
SOLAR_ANSWER = re.compile(r"<\|content\|>")
"""Solar Open: <|think|>draft<|end|><|begin|>assistant<|content|>answer."""

_WRAPPED = rf"{_LT}\s*%s(?:%s)\s*{_ATTRIBUTES}{_GT}"
_BARRED = (
    r"<\|(?:begin_of_solution|START_(?:RESPONSE|TEXT)|answer_prefix)\|>"  # Sky-T1; Command A; Apertus
    r"|\(Here begins the CONCLUSION stage\)",  # LLaVA-CoT
    r"<\|(?:end_of_solution|END_(?:RESPONSE|TEXT)|answer_suffix)\|>|\(Here ends the CONCLUSION stage\)",
)
WRAPPER_START = re.compile(rf"{_WRAPPED % ('', WRAPPER_NAMES)}|{_BARRED[0]}", re.IGNORECASE)
WRAPPER_END = re.compile(rf"{_WRAPPED % ('/', WRAPPER_NAMES)}|{_BARRED[1]}", re.IGNORECASE)
WHOLE_REPLY = re.compile(rf"<\s*({WHOLE_NAMES})\s*>(.*)</\s*\1\s*>", re.IGNORECASE | re.DOTALL)
BOXED = re.compile(r"\$?\\boxed\{(?:\\text\{)?([^{}]*)\}{1,2}\$?")
"""A whole answer in LaTeX's \\boxed, as models trained on mathematics write it."""

_END_NAMES = (
    r"im_end|im_start|im_user|im_system"  # ChatML: Qwen, InternVL; Kimi
    r"|eot_id|eom_id|eot|start_header_id|header_start"  # Llama 3 and 4
    r"|end|user|human|system|observation|tool"  # Phi, GLM
    r"|endoftext|end_of_text|fim_\w+|eod|eos|return|call|start"  # GPT, Granite, gpt-oss
    r"|end_?of_?turn(?:_token)?|start_?of_?turn(?:_token)?|end_?of_?role|(?:user|system|assistant)_(?:token|start|end)"
    r"|separator|sep|begin"  # Solar
)
END_TOKEN = re.compile(
    rf"<\|(?:{_END_NAMES})\|>"
    r"|<｜(?:end▁of▁sentence|begin▁of▁sentence|user|system|tool[^<>｜]{0,30})｜>"  # DeepSeek
    r"|<(?:sep|end_of_turn|start_of_turn|end_of_utterance|end_of_text|endoftext|eos|turn\||\|turn)>"  # Gemma, Idefics
    r"|\[\|(?:endofturn|user|system)\|\]"  # EXAONE
    r"|<seed:(?:eos|bos)>|\[e~\[|\]~!?b[\[\]]"  # Seed-OSS, MiniMax
    r"|\[/?INST\]|<</?SYS>>|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]",  # Mistral, Llama 2
    re.IGNORECASE,
)
"""A token that ends the model's turn; the text after it is no part of the answer."""
TOKEN = re.compile(
    r"<\|[^\W\d_][\w/:.▁ -]{0,40}\|>|<｜[^<>｜\n]{1,40}｜>"
    r"|<\|(?:turn|channel|image|audio|tool)>|<(?:turn|channel|image|audio|tool)\|>"
    r"|\[\|[a-z_]{1,30}\|\]|<(?:bos|eos|pad|unk|cls|mask)>|<unused\d{1,4}>|<extra_id_\d{1,3}>|<reserved_\w{1,40}>"
    r"|<0x[0-9A-F]{2}>|\[(?:IMG|IMG_BREAK|IMG_END)\]",
    re.IGNORECASE,
)
"""Any other template token, anywhere in the reply."""
ROLE_HEADER = re.compile(
    r"\s*(?:<\|(?:im_start|start_header_id|start|header_start|begin|im_assistant|start_of_role)\|>|<start_of_turn>"
    r"|<\|turn>|\]~b\])\s*(?:assistant|model|ai)\b\s*(?:<\|(?:end_header_id|header_end|im_middle|content|message|end_of_role)\|>)?"
    r"|\s*(?:assistant|model)[^\S\n]*\n+(?=\S)"  # the rest of it, if special tokens were skipped
    r"|\s*(?:<\|assistant(?:_start)?\|>|<｜Assistant｜>|\[\|assistant\|\]|<\|CHATBOT_TOKEN\|>|<s>|<(?:image|video|audio)>(?=\s))"
    r"|\s*(?-i:ASSISTANT|###\s*Assistant|Assistant):\s+(?=\S)",  # Vicuna, LLaVA
    re.IGNORECASE,
)
"""The header of the model's own turn, at the start of a reply."""
