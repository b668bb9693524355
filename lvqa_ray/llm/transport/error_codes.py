"""Error codes of endpoints: the class of each, with its source.

`error_mapping` looks here first, then in `error_prose`; if neither knows the error, the status decides.
"""

from __future__ import annotations

import re

from lvqa_ray.errors import (
    ApiError,
    AuthFailed,
    ContentFiltered,
    NoCapacity,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    TooLong,
)

BY_CODE: dict[str, type[ApiError]] = {
    # Money.
    "insufficient_quota": QuotaExceeded,  # OpenAI, with status 429
    "billing_hard_limit_reached": QuotaExceeded,
    "billing_not_active": QuotaExceeded,  # OpenAI
    "arrearage": QuotaExceeded,  # DashScope, with status 400
    "allocationquota.freetieronly": QuotaExceeded,  # DashScope, with status 403
    "exceeded_current_quota_error": QuotaExceeded,  # Moonshot, with status 429
    "1113": QuotaExceeded,  # GLM, with status 429
    "insufficient_balance": QuotaExceeded,  # DeepSeek, MiniMax
    "insufficientbalance": QuotaExceeded,
    "insufficient_user_quota": QuotaExceeded,  # One API and New API, with status 403
    "pre_consume_token_quota_failed": QuotaExceeded,  # One API and New API
    "quota_not_enough": QuotaExceeded,  # One API and New API
    "accountoverdueerror": QuotaExceeded,  # Volcengine Ark, with status 403
    "accountoverdue": QuotaExceeded,
    "payment_required": QuotaExceeded,
    "billing_error": QuotaExceeded,  # Anthropic, with status 403
    "insufficient_funds": QuotaExceeded,
    "insufficient_credits": QuotaExceeded,
    "out_of_credits": QuotaExceeded,
    "credit_balance_too_low": QuotaExceeded,
    "30001": QuotaExceeded,  # SiliconFlow, with status 403
    "credit_limit": QuotaExceeded,  # Together, also with status 429
    "budget_exceeded": QuotaExceeded,  # LiteLLM, with status 400 or 429
    "spend_limit_reached": QuotaExceeded,  # Groq, with status 400
    "organization_restricted": QuotaExceeded,  # Groq, with status 400
    "setlimitexceeded": QuotaExceeded,  # Volcengine Ark, with status 429
    "billing_disabled": QuotaExceeded,  # Google, with status 403
    "minimax_1008": QuotaExceeded,  # MiniMax, with status 200
    # Content.
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    "data_inspection_failed": ContentFiltered,  # DashScope's compatible endpoint
    "datainspectionfailed": ContentFiltered,  # DashScope's own API
    "flagged_input": ContentFiltered,  # OpenRouter, with status 403
    "sensitive_word_detected": ContentFiltered,  # New API, sub2api
    "security_violation": ContentFiltered,
    "invalid_prompt": ContentFiltered,  # OpenAI: flagged as violating the usage policy
    "censorship_blocked": ContentFiltered,  # StepFun, with status 451
    "content_illegal": ContentFiltered,  # Baidu
    "1301": ContentFiltered,  # GLM, with status 400
    "minimax_1026": ContentFiltered,  # MiniMax: input
    "minimax_1027": ContentFiltered,  # MiniMax: output
    # Length.
    "context_length_exceeded": TooLong,
    "context_window_exceeded": TooLong,
    "model_context_window_exceeded": TooLong,
    "contextwindowexceedederror": TooLong,  # LiteLLM
    "string_above_max_length": TooLong,  # OpenAI
    "exceed_context_size_error": TooLong,  # llama.cpp
    "input_tokens": TooLong,  # vLLM names the parameter at fault and gives no code
    "request_too_large": TooLong,  # Anthropic
    "request_entity_too_large": TooLong,
    "badrequest.toolarge": TooLong,  # DashScope
    "image_too_large": TooLong,
    "too_many_images": TooLong,
    "max_images_exceeded": TooLong,
    "1261": TooLong,  # GLM
    "minimax_1039": TooLong,  # MiniMax
    # Keys and models.
    "api_key_invalid": AuthFailed,  # Gemini, with status 400
    "invalid_api_key": AuthFailed,
    "invalidapikey": AuthFailed,  # DashScope
    "model_not_found": NotFound,
    "modelnotfound": NotFound,
    "model_decommissioned": NotFound,  # Groq, with status 400
    "invalid_model": NotFound,  # Mistral, with status 400
    "1211": NotFound,  # GLM, with status 400
    "20012": NotFound,  # SiliconFlow, with status 400
    # Limits.
    "resource_unavailable": NoCapacity,  # OpenAI, tier flex, with status 429
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,  # Anthropic
    "rate_limit_reached_error": RateLimited,  # Moonshot
    "ratelimitreached": RateLimited,  # Azure
    "ratelimitexceeded": RateLimited,
    "userratelimitexceeded": RateLimited,  # Google, with status 403
    "resource_exhausted": RateLimited,  # Gemini
    "throttlingexception": RateLimited,  # Bedrock, with status 400
    "too_many_requests": RateLimited,
    "toomanyrequests": RateLimited,
    "limit_requests": RateLimited,  # DashScope's compatible endpoint
    "limit_burst_rate": RateLimited,
    "1302": RateLimited,  # GLM
    "1303": RateLimited,
    "1305": RateLimited,
    "minimax_1002": RateLimited,  # MiniMax, with status 200
    # Server faults.
    "overloaded_error": Overloaded,  # Anthropic, also with status 200 in a stream
    "engine_overloaded_error": Overloaded,  # Moonshot
    "server_overloaded": Overloaded,
    "serviceunavailableexception": Overloaded,  # Bedrock
    "modelnotreadyexception": Overloaded,
    "unavailable": Overloaded,  # Gemini
    "internal_server_error": Overloaded,
    "server_error": Overloaded,
    "api_error": Overloaded,  # Anthropic, in a stream
    "timeout_error": Overloaded,
    "deadline_exceeded": Overloaded,  # Gemini
    "minimax_1000": Overloaded,  # MiniMax, with status 200
    "minimax_1001": Overloaded,
    "minimax_1013": Overloaded,
}
"""The class of a code, type or status name, in lower case."""
PRECEDENCE: tuple[type[ApiError], ...] = (
    ContentFiltered,
    QuotaExceeded,
    TooLong,
    AuthFailed,
    NotFound,
    NoCapacity,
    RateLimited,
    Overloaded,
)
"""Priority of the classes if a body has several names."""
BY_PART: tuple[tuple[type[ApiError], re.Pattern[str]], ...] = (
    (
        ContentFiltered,
        re.compile(
            r"content_?(?:filter|policy|moderat|violat|safety|risk|inspect|block)|data_?inspection|sensitive(?:_?content|_?word)"
            r"|responsible_?ai|moderation|prohibited_?content|guardrail|safety_?(?:check|violation|block|error)"
            r"|(?:prompt|input|output|content)_?(?:blocked|flagged)|blocked_?(?:prompt|content)|unsafe_?content|censor"
            r"|usage_?(?:policy|guidelines)|policy_?violation|risk_?detect|illegal_?(?:detect|content)"
        ),
    ),
    (RateLimited, re.compile(r"throttl|rate_?limit|too_?many_?requests|burst_?rate")),
    (
        TooLong,
        re.compile(r"context_?(?:length|window|size)|prompt_?too_?long|input_?too_?(?:long|large)|payload_?too_?large"),
    ),
    (
        QuotaExceeded,
        re.compile(
            r"insufficient_?(?:quota|balance|funds|credit)|arrear|overdue|out_?of_?credit|billing|balance_?(?:not|exhaust)"
            r"|(?:spend|credit|budget)\w*?_?(?:limit|exceed|exhaust|deplet)|resourcepackexhausted|free_?quota_?exhausted"
        ),
    ),
)
"""Patterns for codes that are not listed, such as Volcengine's ``InputImageSensitiveContentDetected``."""
