"""Error replies and finish reasons as servers write them, and what each has to mean."""

# ruff: noqa: E501, RUF001 -- the bodies are as servers write them

from __future__ import annotations

import json
from typing import Any

import pytest

from lvqa_ray import errors
from lvqa_ray.llm.transport import error_mapping as faults
from lvqa_ray.llm.transport.finish_reasons import Ending, ending_of


def openai(
    message: str, code: object = None, type_: str | None = "invalid_request_error", **more: Any
) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code, **more}}


TOO_LONG: list[tuple[int, object]] = [
    (400, openai("This model's maximum context length is 128000 tokens. However, you requested 130000.", "context_length_exceeded")),
    (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4500 in the messages, 500 in the completion). Please reduce the length of the messages or completion.", "type": "BadRequestError", "param": None, "code": 400}),
    (400, {"object": "error", "message": "The decoder prompt (length 337896) is longer than the maximum model length of 128000. Make sure that `max_model_len` is no smaller than the number of text tokens plus multimodal tokens.", "type": "BadRequestError", "code": 400}),
    (400, {"object": "error", "message": "Prompt length of 16601 is longer than the maximum model length 10000.", "code": 400}),
    (400, {"object": "error", "message": "The prompt (total length 25938) is too long to fit into the model (context length 4096).", "code": 400}),
    (400, {"object": "error", "message": "At most 4 image(s) may be provided in one prompt.", "type": "BadRequestError", "code": 400}),
    (400, openai("You set or defaulted to image=4 in --limit-mm-per-prompt, but passed 10 image items in the same prompt.")),
    (400, openai("The input (50001 tokens) is longer than the model's context length (32768 tokens).")),
    (400, {"object": "error", "message": "Requested token count exceeds the model's maximum context length of 32768 tokens.", "code": 400}),
    (400, {"error": {"code": 400, "message": "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it", "type": "exceed_context_size_error", "n_ctx": 8192}}),
    (500, {"error": {"code": 500, "message": "the request exceeds the available context size. try increasing the context size or enable context shift", "type": "server_error"}}),
    (400, [{"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}]),
    (400, [{"error": {"code": 400, "message": "Request payload size exceeds the limit: 20971520 bytes.", "status": "INVALID_ARGUMENT"}}]),
    (400, [{"error": {"code": 400, "message": "Unable to process input image. Please use fewer than 16 images in your request.", "status": "INVALID_ARGUMENT"}}]),
    (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000", "error_type": "validation"}),
    (422, {"error": {"message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`", "type": "invalid_request_error"}}),
    (400, {"error": "prompt too long; exceeded max context length by 100918 tokens"}),
    (400, {"error": {"message": "the input length exceeds the context length", "type": "api_error"}}),
    (400, {"code": "InvalidParameter", "message": "Range of input length should be [1, 30720]", "request_id": "x"}),
    (400, openai("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]", "invalid_parameter_error")),
    (400, openai("Exceeded limit on max bytes per data-uri item : 10485760", "invalid_parameter_error")),
    (400, {"object": "error", "message": "Prompt contains 40000 tokens and 8 images, too large for model with 32768 maximum context length", "type": "invalid_request_error", "code": "3051"}),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 208310 tokens > 200000 maximum"}}),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000"}}),
    (413, {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes"}}),
    (400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error":{"message":"This endpoint\'s maximum context length is 32768 tokens."}}', "provider_name": "X"}}}),
    (400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error":{"message":"x","code":"context_length_exceeded"}}'}}}),
    (400, {"error": {"message": "litellm.ContextWindowExceededError: litellm.BadRequestError: maximum context length", "type": None, "code": "400"}}),
    (400, {"detail": '{"error":{"code":400,"type":"exceed_context_size_error","message":"x"}}'}),
    (413, {"error": {"message": "Request too large for model `m` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 9000", "type": "tokens", "code": "rate_limit_exceeded"}}),
    (429, openai("Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 41000. The input or output tokens must be reduced in order to run successfully.", "rate_limit_exceeded", "tokens")),
    (413, "<html><head><title>413 Request Entity Too Large</title></head></html>"),
    (400, {"message": "Input is too long for requested model.", "__type": "ValidationException"}),
    (400, {"error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.", "code": "Client specified an invalid argument"}),
    (400, openai("Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)")),
    (400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}),
    (400, openai("Too many images provided. This model supports up to 5 images", None)),
    (400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081"}),
    (200, {"base_resp": {"status_code": 1039, "status_msg": "token limit"}}),
]  # fmt: skip

FILTERED: list[tuple[int, object]] = [
    (403, {"code": "The caller does not have permission to execute the specified operation", "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"}),
    (400, {"error": {"message": "Failed check: SAFETY_CHECK_TYPE_CSAM", "type": "invalid_request_error"}}),
    (403, {"error": {"message": "sensitive words detected", "type": "security_violation", "code": "sensitive_word_detected"}}),
    (403, {"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"], "flagged_input": "x", "provider_name": "y"}}}),
    (400, openai("<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content.", "data_inspection_failed", "data_inspection_failed")),
    (400, {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}),
    (400, openai("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "content_filter", None, innererror={"code": "ResponsibleAIPolicyViolation"})),
    (400, {"error": {"code": "BadRequest", "message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error", "code": "invalid_request_error"}}),
    (400, {"error": {"message": "The request was rejected because it was considered high risk", "type": "content_filter"}}),
    (400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}),
    (400, {"error": {"code": "InputImageSensitiveContentDetected", "message": "The request failed because the input image may contain sensitive information.", "type": "BadRequest"}}),
    (451, {"error": {"message": "blocked", "type": "censorship_blocked"}}),
    (446, {"error": {"message": "The guardrail checks defined in the config failed.", "type": "hooks_failed"}}),
    (400, {"error": {"message": "{'error': 'Violated guardrail policy', 'bedrock_guardrail_response': 'blocked'}", "type": "None", "code": "400"}}),
    (400, openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "invalid_prompt")),
    (400, openai("Your request was rejected by the safety system.", "moderation_blocked", "image_generation_user_error")),
    (200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
    (200, {"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}),
    (200, {"error": {"code": 403, "message": "Gemini blocked the prompt: PROHIBITED_CONTENT", "status": "PERMISSION_DENIED"}}),
]  # fmt: skip

MONEY: list[tuple[int, object]] = [
    (429, openai("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota", "insufficient_quota")),
    (429, {"error": {"message": "Your account is suspended due to insufficient balance", "type": "exceeded_current_quota_error"}}),
    (429, {"error": {"code": "1113", "message": "您的账户已欠费，请充值后重试"}}),
    (400, {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."}),
    (400, openai("Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage")),
    (402, openai("Insufficient Balance", "invalid_request_error", "unknown_error")),
    (403, {"error": {"message": "Key limit exceeded (total limit). Manage it using the settings page", "code": 403}}),
    (403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
    (403, {"error": {"message": "用户额度不足", "type": "new_api_error", "code": "insufficient_user_quota"}}),
    (403, {"error": {"code": "AccountOverdueError", "message": "The account has an overdue balance", "type": "Forbidden"}}),
    (403, {"code": "AllocationQuota.FreeTierOnly", "message": "The free tier of the model has been exhausted."}),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}}),
    (429, {"code": "Some resource has been exhausted", "error": "Your team has either used all available credits or reached its monthly spending limit."}),
    (429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Your prepayment credits are depleted."}}),
    (200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
]  # fmt: skip

SLOWER: list[tuple[int, object]] = [
    (429, openai("Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 3000.", "rate_limit_exceeded", "tokens")),
    (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota, please check your plan and billing details.", "details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}]}}]),
    (403, {"error": {"code": 403, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded for quota metric"}}),
    (400, {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded, please try again later."}),
    (403, {"code": "Throttling.AllocationQuota", "message": "Allocated quota exceeded, please increase your quota limit."}),
    (400, {"__type": "ThrottlingException", "message": "Too many tokens, please wait before trying again."}),
    (429, {"error": {"code": "1302", "message": "您当前使用该API的并发数过高"}}),
    (429, {"error": {"type": "rate_limit_reached_error", "message": "Your account reached max RPM: 3"}}),
    (429, {"error": {"type": "engine_overloaded_error", "message": "The engine is currently overloaded"}}),
    (400, {"error": {"code": "limit_requests", "message": "You exceeded your current requests list."}}),
    (403, {"error": {"errors": [{"reason": "userRateLimitExceeded"}], "code": 403, "message": "User Rate Limit Exceeded"}}),
]  # fmt: skip

OTHERS: list[tuple[int, object, type[errors.ApiError]]] = [
    (400, openai("Invalid value for 'temperature'.", "invalid_value"), errors.BadRequest),
    (400, openai("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "unsupported_parameter"), errors.BadRequest),
    (400, openai("max_tokens is too large: 100000. This model supports at most 16384 completion tokens", "invalid_value"), errors.BadRequest),
    (400, openai("Image must be at least 10 pixels wide"), errors.BadRequest),
    (401, openai("Incorrect API key provided", "invalid_api_key"), errors.AuthFailed),
    (403, {"error": {"code": 403, "message": "Permission denied on resource project x.", "status": "PERMISSION_DENIED"}}, errors.AuthFailed),
    (403, openai("You are not allowed to use this model", "unsupported_country_region_territory"), errors.AuthFailed),
    (403, "<html>blocked by the security policy of this content network</html>", errors.AuthFailed),
    (404, openai("The model `x` does not exist", "model_not_found"), errors.NotFound),
    (500, openai("Internal error", None, "server_error"), errors.Overloaded),
    (503, {"error": {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}}, errors.Overloaded),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, errors.Overloaded),
    (400, openai("Streaming is not supported", "unsupported_value"), errors.BadRequest),
    (422, {"detail": [{"type": "missing", "loc": ["body", "x"], "msg": "Field required", "input": {"messages": "maximum context length"}}]}, errors.BadRequest),
]  # fmt: skip


def kind_of(status: int, body: object) -> type[errors.ApiError]:
    if status == 200:
        return faults.class_of(None, body)
    text = body if isinstance(body, str) else json.dumps(body)
    return type(faults.of_status(status, {}, text, secret=""))


WORDS = {
    errors.TooLong: """
        400 max_tokens must be at least 1, got -4083.
        400 The multimodal item with 20000 tokens exceeds the pre-allocated encoder cache size 8192
        400 The prompt length 9000 exceeds the session length 8192 of model x
        400 max_total_tokens (40000) must be less than or equal to max_seq_len (32768)
        400 default_max_tokens (-200) should be greater than 0
        400 Input length 40000 exceeds the maximum length 32768. Request id: 1
        400 the max input characters is 20000
        400 Context length 9000 is greater than max_seq_len 8192
        400 the prompt is longer than the context window
        400 litellm.BadRequestError: ContextWindowExceededError: OpenAIException
        400 the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model
        422 prompt + maxTokens exceeds the model's max tokens
        """,
    errors.ContentFiltered: """
        400 Output blocked by content filtering policy
        403 The request was blocked by Model Armor
        403 Request violates content safety policy
        424 Prompt blocked due to security configurations
        400 The image contains a real person's face and cannot be processed
        """,
    errors.QuotaExceeded: """
        400 You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.
        403 Your newly created team doesn't have any credits yet.
        403 令牌额度已用尽
        403 Out of call volume quota. Quota will be replenished in 10:00:00.
        403 This API method requires billing to be enabled.
        412 Portkey Error: API Key Usage Limit Exceeded
        429 Credit limit exceeded, please add a payment method.
        429 Budget has been exceeded! Current cost: 10.1, Max budget: 10.0
        """,
    errors.RateLimited: """
        429 Allocated quota exceeded, please increase your quota limit.
        429 Number of request tokens has exceeded your per-minute rate limit. Please reduce the prompt length.
        """,
    errors.NotFound: """
        400 Model Not Exist
        400 x is not a valid model ID
        400 Model not found "x". Please specify a valid model.
        400 模型不存在，请检查模型代码。
        """,
    errors.BadRequest: """
        400 max_tokens is too large: 32768. This model supports at most 16384 completion tokens.
        400 Range of max_tokens should be [1, 8192]
        400 Unsupported value: 'temperature' does not support 0.2 with this model.
        """,
}


@pytest.mark.parametrize(
    ("kind", "line"), [(kind, line.strip()) for kind, lines in WORDS.items() for line in lines.strip().splitlines()]
)
def test_what_servers_say_in_words_only(kind: type[errors.ApiError], line: str) -> None:
    status, _, message = line.partition(" ")
    assert kind_of(int(status), {"error": {"message": message, "type": "invalid_request_error"}}) is kind


def test_dashscope_gives_a_limit_a_minute_the_code_of_spent_money() -> None:
    message = "Allocated quota exceeded, please increase your quota limit."
    assert kind_of(429, {"error": {"message": message, "code": "insufficient_quota"}}) is errors.RateLimited
    assert kind_of(429, {"error": {"message": "no", "code": "insufficient_quota"}}) is errors.QuotaExceeded


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        *((status, body, errors.TooLong) for status, body in TOO_LONG),
        *((status, body, errors.ContentFiltered) for status, body in FILTERED),
        *((status, body, errors.QuotaExceeded) for status, body in MONEY),
        *((status, body, errors.RateLimited) for status, body in SLOWER),
        *OTHERS,
    ],
    ids=lambda value: json.dumps(value, ensure_ascii=False)[:90] if not isinstance(value, type) else value.__name__,
)
def test_what_an_error_reply_means(status: int, body: object, kind: type[errors.ApiError]) -> None:
    assert kind_of(status, body) is kind


WHOLE, CUT = "A block moves to the right.", "A block mo"


@pytest.mark.parametrize(
    ("ending", "reasons"),
    [
        (Ending.ANSWERED, "stop STOP eos end_turn stop_sequence eos_token COMPLETE FINISH tool_calls endoftext null"),
        (Ending.TRUNCATED, "length MAX_TOKENS max_tokens max_output_tokens token_limit repetition new_token_limit"),
        (Ending.TOO_LONG, "model_length model_context_window_exceeded ERROR_LIMIT"),
        (Ending.FILTERED, "content_filter SAFETY RECITATION PROHIBITED_CONTENT SPII BLOCKLIST IMAGE_SAFETY sensitive"),
        (Ending.FILTERED, "guardrail_intervened ERROR_TOXIC content_filter:SAFETY content_filtered safety_blocked"),
        (Ending.REFUSED, "refusal model_refused"),
        (Ending.OVERLOADED, "insufficient_system_resource network_error error abort load TIMEOUT server_error"),
        (Ending.BROKEN, "MALFORMED_FUNCTION_CALL malformed_model_output"),
    ],
)
def test_what_a_finish_reason_means(ending: Ending, reasons: str) -> None:
    assert {reason: ending_of(reason, CUT) for reason in reasons.split()} == dict.fromkeys(reasons.split(), ending)


def test_a_finish_reason_that_nobody_lists_is_judged_by_the_text() -> None:
    assert ending_of("zorb", WHOLE) is Ending.ANSWERED
    assert ending_of("zorb", CUT) is Ending.TRUNCATED
    assert ending_of("zorb", "") is Ending.UNKNOWN
    assert ending_of(None, CUT) is Ending.ANSWERED
