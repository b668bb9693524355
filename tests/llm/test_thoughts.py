"""Thoughts of reasoning models: read in every form, kept in the journal, and sent to nobody."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from lvqa_ray.config import Job
from lvqa_ray.errors import ApiError, ConfigError, EmptyReply, TruncatedReply
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.llm.replies.thoughts import thoughts_in
from lvqa_ray.llm.transport import sse
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.llm.transport.error_prose import NO_TEMPERATURE, STREAM_ONLY
from lvqa_ray.records import Usage
from lvqa_ray.stage import reask
from tests.fakes.scripted import Reply
from tests.llm.asking import Outcome, ask, request

USAGE = {"prompt_tokens": 9, "completion_tokens": 4}
THOUGHT = "Two cars pass. The red one is first."


def message(finish: str = "stop", **fields: Any) -> Callable[[dict[str, Any]], Reply]:
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish}
    return lambda _: Reply.of(200, {"model": "m", "choices": [choice], "usage": USAGE})


FORMS: dict[str, dict[str, Any]] = {
    "reasoning_content": {"content": "A", "reasoning_content": THOUGHT},  # DeepSeek, DashScope, SGLang
    "reasoning": {"content": "A", "reasoning": THOUGHT},  # vLLM since 0.11, OpenRouter
    "both": {"content": "A", "reasoning": THOUGHT, "reasoning_content": THOUGHT},
    "details": {"content": "A", "reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}]},
    "summary": {"content": "A", "reasoning_details": [{"type": "reasoning.summary", "summary": THOUGHT}]},
    "mistral": {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
            {"type": "text", "text": "A"},
        ]
    },
    "anthropic": {"content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": "A"}]},
    "gemini parts": {"content": [{"text": THOUGHT, "thought": True}, {"type": "text", "text": "A"}]},
    "gemini tags": {"content": f"<thought>\n{THOUGHT}\n</thought>\nA"},
    "tags": {"content": f"<think>\n{THOUGHT}\n</think>\n\nA"},
    "no opening tag": {"content": f"{THOUGHT}\n</think>\n\nA"},
    "gpt-oss": {
        "content": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>A"
    },
    "answer tags": {"content": f"<think>{THOUGHT}</think><answer>A</answer>"},
}


@pytest.mark.parametrize("form", FORMS)
def test_thoughts_are_read_beside_the_answer_and_come_back_from_the_journal(tmp_path: Path, form: str) -> None:
    outcomes, bodies = ask(tmp_path, message(**FORMS[form]), "one", "one")
    assert len(bodies) == 1
    for reply in outcomes:
        assert isinstance(reply, ChatReply)
        assert (reply.text.strip(), reply.thoughts) == ("A", THOUGHT)


def test_a_reply_without_thoughts_has_none(tmp_path: Path) -> None:
    (reply,), _ = ask(tmp_path, message(content="It is <b>red</b>.\n\nANSWER: A"))
    assert isinstance(reply, ChatReply)
    assert reply.thoughts == ""
    assert "thoughts" not in json.loads(next(tmp_path.glob("*.jsonl")).read_bytes().splitlines()[0])


@pytest.mark.parametrize("text", [f"<think>\n{THOUGHT}", f"◁think▷{THOUGHT}", f"[THINK]{THOUGHT}"])
def test_a_thought_that_was_cut_off_is_no_answer(text: str) -> None:
    assert strip_thinking(text) == ""
    assert thoughts_in(text, "") == THOUGHT


def test_an_answer_before_its_thoughts_is_found(tmp_path: Path) -> None:
    (reply,), _ = ask(tmp_path, message(content=f"A\n<think>{THOUGHT} So A.</think>"))
    assert isinstance(reply, ChatReply)
    assert (reply.text, reply.thoughts) == ("A", f"{THOUGHT} So A.")


def outcome(folder: Path, **fields: Any) -> Outcome:
    (one,), _ = ask(folder, message(**fields), max_attempts=1)
    return one


def test_thoughts_alone_are_an_empty_reply_whose_cost_is_recorded(tmp_path: Path) -> None:
    error = outcome(tmp_path, content=None, reasoning=THOUGHT)
    assert isinstance(error, EmptyReply)
    assert error.bill is not None
    line = json.loads(next(tmp_path.glob("*.jsonl")).read_bytes().splitlines()[0])
    assert (line["error"], line["input_tokens"], line["output_tokens"]) == ("empty_reply", 9, 4)


def test_a_reply_that_ends_inside_of_its_thoughts_is_truncated(tmp_path: Path) -> None:
    error = outcome(tmp_path, finish="length", content=None, reasoning_content=THOUGHT)
    assert isinstance(error, TruncatedReply)
    assert error.bill is not None


def test_a_stream_of_thoughts_is_assembled() -> None:
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "reasoning_content": "Two cars"},
        {"content": None, "reasoning_content": " pass."},
        {"content": "A", "reasoning_content": None},
    ]
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    whole = sse.assembled("".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n")
    told = whole["choices"][0]["message"]
    assert (told["content"], told["reasoning_content"]) == ("A", "Two cars pass.")


def test_thoughts_enter_no_other_prompt_and_the_key_of_a_follow_up_stays() -> None:
    received = f"<think>{THOUGHT}</think>\nno question"
    reply = ChatReply(text="no question", raw=received, thoughts=THOUGHT, model="m", usage=Usage())
    sent = reask(request(), reply, "Again.")
    assert THOUGHT not in repr([part.text for turn in sent.messages for part in turn.parts if hasattr(part, "text")])
    endpoint = Endpoint(base_url="http://h/v1", model="m", api_key_env=None)
    turns = (Message.of("assistant", received), Message.of("user", "Again."))
    as_before = ChatRequest(stage="caption", version="1", messages=(*request().messages, *turns))
    assert cache_key(endpoint, sent) == cache_key(endpoint, as_before)
    assert reask(request(), ChatReply(text="", raw="<think>x", model="m", usage=Usage()), "").messages[-2].parts


def test_a_model_that_refuses_a_temperature_is_asked_without_one(tmp_path: Path) -> None:
    said = "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) is supported."

    def reply(body: dict[str, Any]) -> Reply:
        if "temperature" in body or "max_tokens" in body:
            name = "temperature" if "temperature" in body else "max_tokens"
            text = said if name == "temperature" else "Unsupported: 'max_tokens'. Use 'max_completion_tokens'."
            return Reply.of(400, {"error": {"message": text, "code": "unsupported_value", "param": name}})
        return message(content="A", reasoning="x")(body)

    outcomes, bodies = ask(tmp_path, reply, "one", "two", temperature=0.7, max_tokens=50)
    assert not any(isinstance(one, ApiError) for one in outcomes)
    assert len(bodies) == 4, "both are learned once"
    assert bodies[-1]["max_completion_tokens"] == 50


@pytest.mark.parametrize(
    "said",
    [
        "parameter.enable_thinking must be set to false for non-streaming calls",  # coze-dev/coze-studio#324
        "enable thinking can not be support when `stream=False`.",  # musistudio/claude-code-router#948
        "parameter.enable_thinking必须设置为false才能进行非流式调用",  # alibaba/spring-ai-alibaba#867
    ],
)
def test_a_provider_that_only_streams_thoughts_is_recognized(said: str) -> None:
    assert STREAM_ONLY.search(said)


@pytest.mark.parametrize(
    ("base_url", "reasoning", "streams"),
    [
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", {"budget_tokens": 9}, True),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "off", False),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", None, False),
        ("https://api.openai.com/v1", {"effort": "low"}, False),
    ],
)
def test_thinking_models_of_dashscope_are_asked_for_streams(base_url: str, reasoning: Any, *, streams: bool) -> None:
    endpoint = Endpoint.model_validate({"base_url": base_url, "model": "m", "reasoning": reasoning})
    assert ("stream" in OpenAITransport(endpoint, SecretStr(""))._body(request())) is streams


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("Unsupported parameter: 'temperature' is not supported with this model.", True),  # HKUDS/LightRAG#1536
        ("`temperature` is deprecated for this model.", True),
        ("invalid temperature: only 1 is allowed for this model", True),
        ("temperature: Input should be less than or equal to 1", False),
        ("This model's maximum context length is 4096 tokens.", False),
    ],
)
def test_errors_about_the_temperature(said: str, *, refused: bool) -> None:
    assert bool(NO_TEMPERATURE.search(said)) is refused


@pytest.mark.parametrize(
    ("base_url", "reasoning", "fields"),
    [
        ("https://api.openai.com/v1", {"effort": "high"}, {"reasoning_effort": "high"}),
        ("https://me.openai.azure.com/openai/v1", "off", {"reasoning_effort": "none"}),
        (
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            {"budget_tokens": 500},
            {"enable_thinking": True, "thinking_budget": 500},
        ),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", False, {"enable_thinking": False}),
        (
            "https://api.deepseek.com/v1",
            {"effort": "low"},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "low"},
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai",
            {"budget_tokens": 800},
            {"extra_body": {"google": {"thinking_config": {"include_thoughts": True, "thinking_budget": 800}}}},
        ),
        ("https://openrouter.ai/api/v1", {"budget_tokens": 9}, {"reasoning": {"max_tokens": 9}}),
        ("https://api.mistral.ai/v1", {"effort": "high"}, {"reasoning_effort": "high"}),
        (
            "http://127.0.0.1:8000/v1",
            {"off": True},
            {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
        ),
        (
            "http://gpu:8000/v1",
            {"budget_tokens": 70},
            {
                "chat_template_kwargs": {"enable_thinking": True, "thinking": True, "thinking_budget": 70},
                "thinking_token_budget": 70,
            },
        ),
    ],
)
def test_reasoning_becomes_the_provider_s_own_parameters(base_url: str, reasoning: Any, fields: dict[str, Any]) -> None:
    given = {"base_url": base_url, "model": "m", "reasoning": reasoning}
    endpoint = Endpoint.model_validate(given)
    assert endpoint.sampling(request()) == fields
    assert endpoint.answering["reasoning"]
    plain = Endpoint(base_url=base_url, model="m")
    assert "reasoning" not in plain.answering, "jobs of earlier releases keep their hash"
    assert cache_key(plain, request()) != cache_key(endpoint, request())


def test_own_arguments_of_the_template_are_kept() -> None:
    own = {"chat_template_kwargs": {"enable_thinking": False, "lang": "de"}}
    endpoint = Endpoint.model_validate(
        {"base_url": "http://h/v1", "model": "m", "reasoning": {"effort": "low"}, "extra_body": own}
    )
    assert endpoint.sampling(request())["chat_template_kwargs"] == {
        "enable_thinking": False,
        "thinking": True,
        "lang": "de",
    }


@pytest.mark.parametrize(
    ("base_url", "reasoning", "why"),
    [
        ("https://api.openai.com/v1", {"budget_tokens": 5}, "OpenAI takes no budget_tokens"),
        ("https://dashscope.aliyuncs.com/v1", {"effort": "low"}, "take no effort"),
        ("http://h/v1", {"effort": "low", "off": True}, "set one of"),
        ("http://h/v1", {}, "set one of"),
        ("http://h/v1", {"effort": "much"}, "effort"),
    ],
)
def test_a_setting_that_a_provider_does_not_have_is_refused_before_anything_is_paid(
    base_url: str, reasoning: Any, why: str
) -> None:
    given = {"base_url": base_url, "model": "m", "reasoning": reasoning}
    with pytest.raises(ValidationError, match=why):
        Endpoint.model_validate(given)
    with pytest.raises(ConfigError, match=why):
        Job.of({"videos": ["v"], "output": "o", "endpoints": {"vlm": given, "llm": given}})
