"""Finish reasons: the vocabularies of the servers in one table."""

# ruff: noqa: RUF001 -- full-width marks end sentences too

from __future__ import annotations

import re
from enum import Enum


class Ending(Enum):
    """How a reply ended."""

    ANSWERED = "it ended by itself"
    TRUNCATED = "it ran into a limit on tokens"
    FILTERED = "a content filter ended it"
    REFUSED = "the model declined"
    OVERLOADED = "the server broke it off"
    TOO_LONG = "the prompt leaves no room for a reply"
    BROKEN = "the model wrote something that the server cannot use"
    UNKNOWN = "no server that is known says this"


_REASONS: dict[Ending, str] = {
    Ending.ANSWERED: """
        stop eos finish complete completed finished done normal
        stop_sequence end_turn pause_turn tool_use
        eos_token stopped_eos stopped_word endoftext eod
        tool_calls tool_call function_call
        finish_reason_stop reason_stop finish_reason_unspecified unspecified null none
        """,
    # OpenAI stop, tool_calls, function_call; Together eos; Titan FINISH; Cohere COMPLETE, TOOL_CALL; Baidu normal;
    # Anthropic and Bedrock end_turn, stop_sequence, tool_use, pause_turn; TGI eos_token, stop_sequence;
    # llama.cpp stopped_eos, stopped_word; AI21 endoftext; Vertex FINISH_REASON_STOP; xAI REASON_STOP.
    Ending.TRUNCATED: """
        length max_tokens max_length max_output_tokens max_new_tokens token_limit stopped_limit
        finish_reason_max_tokens reason_max_len incomplete time_limit reason_time_limit repetition
        """,
    # OpenAI length; Anthropic max_tokens; Gemini MAX_TOKENS; Responses max_output_tokens; watsonx token_limit,
    # time_limit; vLLM repetition: it stops a reply that goes in circles.
    Ending.TOO_LONG: """
        model_length model_context_window_exceeded context_length_exceeded context_window_exceeded reason_max_context
        error_limit
        """,
    # Mistral model_length; Anthropic, Bedrock and GLM model_context_window_exceeded; Cohere ERROR_LIMIT.
    Ending.FILTERED: """
        content_filter content_filtered guardrail_intervened
        safety recitation language blocklist prohibited_content spii other model_armor
        image_safety image_prohibited_content image_recitation image_other
        sensitive error_toxic content_moderation moderation risk_control
        """,
    # OpenAI and Azure content_filter; Titan CONTENT_FILTERED; Bedrock guardrail_intervened; Gemini and Vertex SAFETY
    # and the next two lines (as litellm maps them, OTHER and LANGUAGE too); GLM sensitive; Cohere ERROR_TOXIC.
    Ending.REFUSED: "refusal refused",
    # Anthropic refusal, also at compatible endpoints.
    Ending.OVERLOADED: """
        insufficient_system_resource network_error error abort aborted cancel cancelled canceled user_cancel timeout
        load unload not_finished shutdown
        """,
    # DeepSeek insufficient_system_resource; GLM network_error; Mistral, Cohere, vLLM and OpenRouter error; SGLang and
    # vLLM abort; Cohere USER_CANCEL, TIMEOUT; TensorRT-LLM cancelled, not_finished; Ollama load, unload.
    Ending.BROKEN: """
        malformed_function_call unexpected_tool_call too_many_tool_calls malformed_response missing_thought_signature
        malformed_model_output malformed_tool_use no_image
        """,
    # Gemini; Bedrock.
}
_ENDINGS = {reason: ending for ending, reasons in _REASONS.items() for reason in reasons.split()}
_BY_PART = (
    (Ending.FILTERED, re.compile(r"filter|safety|sensitiv|moderat|guardrail|block|prohibit|policy|toxic|inspect")),
    (Ending.REFUSED, re.compile(r"refus|declin")),
    (Ending.TOO_LONG, re.compile(r"context")),
    (Ending.TRUNCATED, re.compile(r"length|max|limit|token|truncat|incomplete")),
    (
        Ending.OVERLOADED,
        re.compile(r"error|abort|cancel|time_?out|overload|resource|unavailable|interrupt|fail|disconn"),
    ),
)
"""Patterns for reasons that are not listed."""
_ENDS_WHOLE = re.compile(r"[.!?…。！？\"'”’»」』)）\]}】`*]\s*\Z")


def ending_of(reason: object, text: str) -> Ending:
    """Classify a finish reason.

    Args:
        reason: The server's value; compared in lower case, and if unknown, by its parts around a colon, since Gemini
            writes ``content_filter: SAFETY``.
        text: Content of the reply. With an unknown reason, the reply counts as an answer if its text ends properly.
    """
    if reason is None or reason == "":
        return Ending.ANSWERED
    name = re.sub(r"[\s-]+", "_", str(reason).strip().lower())
    for part in (name, *(piece.strip("_ ") for piece in name.split(":"))):
        if part in _ENDINGS:
            return _ENDINGS[part]
    for ending, pattern in _BY_PART:
        if pattern.search(name):
            return ending
    if not text.strip():
        return Ending.UNKNOWN
    return Ending.ANSWERED if ends_whole(text) else Ending.TRUNCATED


def ends_whole(text: str) -> bool:
    """Whether a text ends as sentences, JSON lists and code do."""
    return _ENDS_WHOLE.search(text) is not None
