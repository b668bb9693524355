"""Replies of models: drafts, wrappers, finish reasons, refusals, endpoints that reject every request."""

# ruff: noqa: E501 -- the replies are as servers write them

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.replies.repetition import repetition
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.records.safe_text import safe_text
from tests.cases import Row, case, folder
from tests.fakes.scripted import Reply, completion, stream
from tests.llm.asking import Outcome, ask

ANSWER = "A block moves to the right."


def kind(outcome: Outcome) -> str:
    return outcome.kind if isinstance(outcome, ApiError) else outcome.text


@case("02", "drafts in other tags")
def drafts(_: Path) -> Iterable[Row]:
    for file in sorted(folder("02").glob("*.json")):
        said = json.loads(file.read_text())
        yield file.stem, said["caption_right"], strip_thinking(said["content"])
    draft = "DRAFT the user wants a description."
    for name, reply in {
        "harmony (openai/harmony)": f"<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>",
        "harmony, tokens skipped (vllm #22578)": f"analysis{draft}assistantfinal{ANSWER}",
        "seed-oss": f"<seed:think>{draft}</seed:think>{ANSWER}<seed:eos>",
        "command a reasoning": f"<|START_THINKING|>{draft}<|END_THINKING|><|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>",
        "apertus (llama.cpp chat-parser)": f"<|inner_prefix|>{draft}<|inner_suffix|>{ANSWER}",
        "gemma 4": f"<|channel>thought\n{draft}<channel|>{ANSWER}<turn|>",
        "granite 3.2": f"Here is my thought process:\n{draft}\nHere is my response:\n{ANSWER}",
        "llava-cot": f"<SUMMARY>x</SUMMARY>\n<CAPTION>y</CAPTION>\n<REASONING>{draft}</REASONING>\n<CONCLUSION>{ANSWER}</CONCLUSION>",
        "empty closing tag first (omlx #2649)": f"</think>{draft}</think>{ANSWER}",
        "no opening tag (perplexity #177)": f"{draft}\n</think>\n\n{ANSWER}",
        "open webui": f'<details type="reasoning" done="true"><summary>Thought</summary>{draft}</details>\n{ANSWER}',
        "escaped": f"&lt;think&gt;{draft}&lt;/think&gt;\n{ANSWER}",
        "after the answer": f"{ANSWER}\n<reflection>{draft}</reflection>",
        "llama, another turn": f"{ANSWER}<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd now?",
    }.items():
        yield name, ANSWER, strip_thinking(reply)
    yield "unclosed draft (qwen-code #8818)", "", strip_thinking(f"<thinking>{draft}")
    yield "harmony without a final channel", "", strip_thinking(f"<|channel|>analysis<|message|>{draft}")
    for text in ("The page shows an <answer> tag in HTML.", 'It reads "<think>" and "</think>".', "It shows 3 < 5."):
        yield "text", text, strip_thinking(text)


@case("02", "characters and loops")
def characters(_: Path) -> Iterable[Row]:
    yield "terminal escapes", "a red door", safe_text("a \x1b[31mred\x1b[0m door\x07")
    yield "bidi override (CVE-2021-42574)", "abcdef", safe_text("abc\u202edef\u202c")
    yield "emoji joined", "\U0001f468\u200d\U0001f469", safe_text("\U0001f468\u200d\U0001f469")
    yield "a loop (whisper, qwen2.5-vl)", True, bool(repetition("The man walks to the door. " * 200))
    yield "a loop in Chinese", True, bool(repetition("一个男人走向门口。" * 100))
    yield "a list", "", repetition("\n".join(f"- car number {number}" for number in range(200)))


@case("03", "finish reasons")
def finish_reasons(out: Path) -> Iterable[Row]:
    right = {
        "MAX_TOKENS": ("truncated_reply", 1),
        "eos_token": (ANSWER, 1),
        "insufficient_system_resource": ("overloaded", 2),
        "model_context_window_exceeded": ("too_long", 1),
        "sensitive": ("content_filtered", 1),
    }
    for file in sorted(folder("03").glob("*.json")):
        said = json.loads(file.read_text())
        yield file.stem, right[file.stem], _once(out / file.stem, Reply.of(said["status"], said["body"]))
    for reason, text, expected in (
        ("COMPLETE", ANSWER, (ANSWER, 1)),
        ("guardrail_intervened", "", ("content_filtered", 1)),
        ("content_filter: RECITATION", "", ("content_filtered", 1)),
        ("network_error", "A bl", ("overloaded", 2)),
        ("refusal", "I can", ("refused", 1)),
        ("abort", "", ("overloaded", 2)),
        ("something_new", ANSWER, (ANSWER, 1)),
        ("something_new", "A block mo", ("truncated_reply", 1)),
    ):
        yield reason, expected, _once(out / f"{reason}{len(text)}", Reply.of(200, completion(text, reason)))


def _once(at: Path, reply: Reply) -> tuple[str, int]:
    """Outcome of a request with at most two attempts, and how often it was sent."""
    (outcome,), bodies = ask(at, lambda _: reply, max_attempts=2)
    return kind(outcome), len(bodies)


def _error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None, **more}}


@case("04", "too long for the model")
def too_long(out: Path) -> Iterable[Row]:
    for file in sorted(folder("04").glob("*.json")):
        said = json.loads(file.read_text())
        yield file.stem, ("too_long", 1), _once(out / file.stem, Reply.of(said["status"], said["body"]))
    for name, status, body in (
        ("vllm #13513", 400, {"object": "error", "message": "At most 1 image(s) may be provided in one request.", "code": 400}),
        ("vllm, lmms-eval #711", 400, {"object": "error", "message": "The decoder prompt (length 337896) is longer than the maximum model length of 128000.", "code": 400}),
        ("llama.cpp", 400, {"error": {"code": 400, "type": "exceed_context_size_error", "message": "x", "n_ctx": 8192}}),
        ("ollama", 400, {"error": "prompt too long; exceeded max context length by 100918 tokens"}),
        ("openrouter, wrapped", 400, _error("Provider returned error", metadata={"raw": '{"error": {"code": "context_length_exceeded"}}'})),
        ("groq 413", 413, _error("Request too large for model", code="rate_limit_exceeded")),
        ("dashscope", 400, _error("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]")),
        ("tgi", 422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000", "error_type": "validation"}),
    ):  # fmt: skip
        yield name, ("too_long", 1), _once(out / name.replace("/", ""), Reply.of(status, body))


@case("05", "refusals of content and money")
def refusals(out: Path) -> Iterable[Row]:
    for file in sorted(folder("05").glob("*.json")):
        said = json.loads(file.read_text())
        yield file.stem, ("content_filtered", 1), _once(out / file.stem, Reply.of(said["status"], said["body"]))
    for name, status, body, expected in (
        ("openrouter moderation", 403, _error("flagged", metadata={"reasons": ["x"], "flagged_input": "y"}), "content_filtered"),
        ("dashscope (command-code #813)", 400, _error("<400> InternalError.Algo.DataInspectionFailed", code="data_inspection_failed"), "content_filtered"),
        ("deepseek", 400, _error("Content Exists Risk"), "content_filtered"),
        ("volcengine", 400, _error("x", code="InputImageSensitiveContentDetected"), "content_filtered"),
        ("moonshot, money", 429, _error("insufficient balance", type="exceeded_current_quota_error"), "quota_exceeded"),
        ("glm 1113, money", 429, {"error": {"code": "1113", "message": "x"}}, "quota_exceeded"),
        ("openrouter key limit", 403, {"error": {"code": 403, "message": "Key limit exceeded (total limit)"}}, "quota_exceeded"),
        ("dashscope throttling as 403", 403, {"code": "Throttling.AllocationQuota", "message": "x"}, "rate_limited"),
        ("a key that is not accepted", 403, _error("You have no access to this model"), "auth_failed"),
    ):  # fmt: skip
        (outcome,), _ = ask(out / name.replace("/", ""), _always(Reply.of(status, body)), max_attempts=1)
        yield name, expected, kind(outcome)

    def later(body: dict[str, Any]) -> Reply:
        bad = body["messages"][0]["content"] == "bad"
        return Reply.of(403, _error("no")) if bad else Reply.of(200, completion(ANSWER))

    outcomes, _bodies = ask(out / "later", later, "good", "bad", "another")
    yield (
        "an unknown 403 after an answer",
        [ANSWER, "request_forbidden", ANSWER],
        [kind(outcome) for outcome in outcomes],
    )


def _always(reply: Reply) -> Any:
    return lambda _: reply


@case("21", "every call is refused")
def every_call(out: Path) -> Iterable[Row]:
    refusal = Reply.of(400, json.loads((folder("21") / "reply.json").read_text()))
    outcomes, bodies = ask(out / "a", lambda _: refusal, *"abcdefgh", max_rejections=3)
    yield "stops after 3 rejections", "endpoint_rejects", kind(outcomes[-1])
    yield "requests sent", 4, len(bodies)  # one of them once more, as a stream
    outcomes, _bodies = ask(out / "b", lambda body: stream([ANSWER]) if body.get("stream") else refusal, "a", "b")
    yield "streams where nothing else is answered", [ANSWER, ANSWER], [kind(outcome) for outcome in outcomes]
    outcomes, _bodies = ask(out / "c", lambda _: stream(["A bl"], finish=None), stream=True, max_attempts=1)
    yield "a stream that is cut", "disconnected", kind(outcomes[0])
    outcomes, _bodies = ask(out / "d", lambda _: stream([ANSWER]), extra_body={"stream": True})
    yield "stream in extra_body", ANSWER, kind(outcomes[0])
