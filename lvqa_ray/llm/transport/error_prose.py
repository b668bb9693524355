"""Error messages of servers without codes: one table of patterns, each with its source."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lvqa_ray.errors import (
    ApiError,
    AuthFailed,
    ContentFiltered,
    NoCapacity,
    NotFound,
    QuotaExceeded,
    RateLimited,
    TooLong,
)


@dataclass(frozen=True, slots=True)
class Prose:
    """An error that a server gives in words only.

    Attributes:
        kind: Class of the error.
        words: Case-insensitive pattern.
        source: Servers that write it.
        statuses: HTTP statuses with which it occurs; empty for any.
    """

    kind: type[ApiError]
    words: re.Pattern[str]
    source: str
    statuses: frozenset[int] = frozenset()

    def matches(self, status: int | None, text: str) -> bool:
        """Whether a reply matches; an error in a reply with status 200 has no status."""
        return (status is None or not self.statuses or status in self.statuses) and bool(self.words.search(text))


def _says(kind: type[ApiError], words: str, source: str, *statuses: int) -> Prose:
    return Prose(kind, re.compile(words, re.IGNORECASE), source, frozenset(statuses))


_BAD = (400, 413, 422, 500)
_FOR_CONTENT = (400, 403, 422, 424, 446, 451, 500)
_FOR_MONEY = (400, 402, 403, 412, 429)

PROSE: tuple[Prose, ...] = (
    _says(NoCapacity, r"resource[ _]unavailable|flex tier.{0,40}capacity", "OpenAI 429, Groq 498", 429, 498),
    # Rate limits first, since Bedrock's is about tokens.
    _says(RateLimited, r"too many tokens, please wait", "Bedrock, ThrottlingException"),
    _says(
        RateLimited,
        r"(?:requests|tokens) per (?:minute|second|day).{0,80}\b(?:exceeded|limit|throttl)",
        "gateways",
        400,
        403,
    ),
    _says(
        RateLimited, r"allocated quota exceeded, please increase your quota limit", "DashScope: a limit a minute", 429
    ),
    # Larger than the limit per minute: it never fits, however long one waits.
    _says(TooLong, r"request too large for (?:model|gpt|\S+ in organization)", "OpenAI 429, Groq 413", 400, 413, 429),
    # Length.
    _says(TooLong, r"maximum context length", "OpenAI, vLLM before 0.11, DeepSeek, OpenRouter, SGLang", *_BAD),
    _says(TooLong, r"longer than the model'?s? (?:maximum )?context length", "SGLang, Together", *_BAD),
    _says(
        TooLong,
        r"longer than the (?:maximum |max )?(?:model|context) length",
        "vLLM: The decoder prompt (length N)",
        *_BAD,
    ),
    _says(TooLong, r"too long to fit into the model", "vLLM #12165", *_BAD),
    _says(TooLong, r"input token count .{0,40}exceeds the maximum number of tokens", "Gemini", *_BAD),
    _says(
        TooLong,
        r"(?:input|prompt|request).{0,60}exceeds? the (?:available |maximum |model'?s? )?(?:context|token)",
        "llama.cpp, GitHub Models",
        *_BAD,
    ),
    _says(TooLong, r"exceeds the (?:available )?context (?:size|window|length|limit)", "llama.cpp, LM Studio", *_BAD),
    _says(
        TooLong,
        r"exceed(?:s|ed)? (?:the )?(?:max(?:imum)?(?: allowed)? )?(?:context|input|prompt) ?(?:length|limit|window)",
        "Ollama: prompt too long; exceeded max context length by N tokens; Anthropic",
        *_BAD,
    ),
    _says(
        TooLong,
        r"context window (?:exceeds|is full|exceeded)|exceeds? .{0,20}context window",
        "MiniMax, Codestral",
        *_BAD,
    ),
    _says(
        TooLong,
        r"input validation error: .{0,40}(?:tokens|inputs).{0,60}(?:<=|less than|must be)",
        "TGI, Together",
        *_BAD,
    ),
    _says(
        TooLong,
        r"(?:prompt|input) is too long|prompt too long|input (?:length|text) too long|input is too large",
        "Anthropic, Bedrock, Fireworks, LMDeploy",
        *_BAD,
    ),
    _says(TooLong, r"range of input length should be", "DashScope", *_BAD),
    _says(TooLong, r"maximum prompt length is", "xAI", *_BAD),
    _says(TooLong, r"too large for model with \d+ maximum", "Mistral", *_BAD),
    _says(TooLong, r"exceeded model token limit|total message size \d+ exceeds", "Moonshot", *_BAD),
    _says(
        TooLong,
        r"prompt exceeds max length|prompt.{0,4}超长|(?:超过|超出).{0,12}(?:上下文|最大长度|输入长度)",
        "GLM and gateways",
        *_BAD,
    ),
    _says(TooLong, r"reduce the length of the (?:messages|prompt|input)", "OpenAI, Groq", *_BAD),
    _says(TooLong, r"too many tokens(?! per)|total tokens of image and text exceed", "Cohere, Volcengine Ark", *_BAD),
    _says(TooLong, r"length of prompt_tokens .{0,30}must be less than", "SiliconFlow", *_BAD),
    _says(
        TooLong, r"(?:model is loaded with context length|tokens to keep from the initial prompt)", "LM Studio", *_BAD
    ),
    _says(TooLong, r"configured context size is|prompt has \d+ tokens", "DS4", *_BAD),
    _says(TooLong, r"input tokens? (?:exceeds?|limit)", "Databricks, OpenAI", *_BAD),
    _says(
        TooLong,
        r"input \(\d+ tokens?\).{0,40}(?:larger|exceeds?)|too large to process.{0,40}batch size",
        "llama.cpp before b5000",
        *_BAD,
    ),
    # Images: fewer or smaller ones fit.
    _says(TooLong, r"at most \d+ (?:image|video)s?(?:\(s\))? (?:may|can) be", "vLLM #9739, #13513", *_BAD),
    _says(TooLong, r"limit[-_]mm[-_]per[-_]prompt", "vLLM, Xinference #3054", *_BAD),
    _says(
        TooLong,
        r"too many (?:total )?(?:images|image inputs|media)|image count .{0,20}exceed|number of images.{0,40}exceed",
        "Anthropic, Groq, Bedrock, Mistral, DashScope",
        *_BAD,
    ),
    _says(
        TooLong,
        r"(?:supports?|use|allows?|maximum(?: of)?|up to|fewer than|exceeds? the limit of) "
        r"(?:up to )?(?:fewer than )?\d+ (?:images|pictures)",
        "Groq, Gemini",
        *_BAD,
    ),
    _says(
        TooLong,
        r"image exceeds \d+ ?mb|image dimensions exceed|total (?:image|pixel)s? .{0,40}exceed",
        "Anthropic",
        *_BAD,
    ),
    _says(
        TooLong,
        r"payload size exceeds|payload too large|request entity too large|request body (?:is )?too large|body exceeded",
        "Gemini, nginx, FastAPI",
        *_BAD,
    ),
    _says(TooLong, r"max bytes per data-uri", "DashScope", *_BAD),
    _says(
        TooLong,
        r"max_tokens must be at least 1, got -|max_tokens \(-\d+\) should be greater",
        "vLLM before 0.9, TensorRT-LLM: the prompt leaves no room",
        *_BAD,
    ),
    _says(TooLong, r"encoder cache size|too many total text bytes|max input characters", "vLLM, Bedrock, Baidu", *_BAD),
    _says(TooLong, r"contextwindowexceeded|context overflow|max_seq_len", "LiteLLM, KoboldCpp, SiliconFlow", *_BAD),
    _says(
        TooLong,
        r"\b(?:prompt|input|context|inputs)\b(?!.{0,100}per (?:minute|day))[^.]{0,100}"
        r"\b(?:exceeds?|longer than|greater than|larger than)\b"
        r"[^.]{0,60}\b(?:max\w*|length|context|tokens?|window)\b",
        "LMDeploy, Volcengine Ark, watsonx, MLX, AI21, TabbyAPI",
        *_BAD,
    ),
    # Content.
    _says(
        ContentFiltered,
        r"content violates usage guidelines|failed check: safety_check",
        "xAI, with status 403",
        *_FOR_CONTENT,
    ),
    _says(ContentFiltered, r"content exists risk", "DeepSeek", *_FOR_CONTENT),
    _says(ContentFiltered, r"(?:considered|rejected because it was) .{0,20}high risk", "Moonshot", *_FOR_CONTENT),
    _says(
        ContentFiltered, r"(?:triggered|azure openai'?s) .{0,40}content (?:management|filter)", "Azure", *_FOR_CONTENT
    ),
    _says(ContentFiltered, r"data may contain inappropriate content|datainspectionfailed", "DashScope", *_FOR_CONTENT),
    _says(
        ContentFiltered,
        r"(?:prompt|input|request|content|response).{0,40}(?:blocked|rejected|flagged|denied).{0,60}"
        r"(?:guardrail|safety|moderation|polic|inappropriate|sensitive|filter)",
        "LiteLLM, Portkey, Cloudflare, Bedrock",
        *_FOR_CONTENT,
    ),
    _says(
        ContentFiltered,
        r"violated? (?:guardrail|(?:our |the )?(?:content|usage|safety) polic)"
        r"|(?:potentially )?violat(?:es|ing) (?:our |the )?(?:usage|content|safety) (?:polic|guideline)",
        "OpenAI, LiteLLM",
        *_FOR_CONTENT,
    ),
    _says(
        ContentFiltered,
        r"(?:requires|your input was|input) (?:moderation|flagged)|flagged for \"",
        "OpenRouter",
        *_FOR_CONTENT,
    ),
    _says(
        ContentFiltered,
        r"sensitive (?:word|content|information)|敏感(?:词|内容|信息)|违规|不安全或敏感|内容审核|安全审核",
        "GLM, gateways",
        *_FOR_CONTENT,
    ),
    _says(
        ContentFiltered,
        r"prohibited[_ ]content|block_?reason|blocked by .{0,20}safety|safety (?:system|filter|settings)",
        "Gemini, OpenAI",
        *_FOR_CONTENT,
    ),
    _says(
        ContentFiltered,
        r"violat\w* .{0,40}\b(?:usage|content|safety|moderation|community)\b.{0,20}(?:polic|guideline|rule)"
        r"|blocked (?:by|due to) .{0,30}(?:content filter|model armor|security configuration|moderation|guardrail)"
        r"|(?:content|prompt) (?:is )?illegal|contains? .{0,20}(?:real person|human face)",
        "NVIDIA NeMo, Anthropic, Google Model Armor, Cloudflare, Baidu",
        *_FOR_CONTENT,
    ),
    # Money.
    _says(QuotaExceeded, r"credit balance is too low", "Anthropic, with status 400", *_FOR_MONEY),
    _says(
        QuotaExceeded,
        r"used all (?:available|of your)? ?credits|monthly spending limit|spend(?:ing)? (?:limit|cap)",
        "xAI, Groq",
        *_FOR_MONEY,
    ),
    _says(
        QuotaExceeded,
        r"prepay(?:ment)? credits are depleted|credits? (?:have )?(?:expired|depleted|exhausted)",
        "Gemini, NVIDIA",
        *_FOR_MONEY,
    ),
    _says(QuotaExceeded, r"key limit exceeded", "OpenRouter, with status 403", *_FOR_MONEY),
    _says(
        QuotaExceeded,
        r"insufficient (?:account )?(?:balance|credits?|funds)|balance is insufficient|余额不足|欠费",
        "Moonshot, SiliconFlow, GLM",
        *_FOR_MONEY,
    ),
    _says(
        QuotaExceeded,
        r"specified api usage limits|doesn'?t have any credits|purchase (?:more )?credits|budget has been exceeded"
        r"|(?:key|quota) usage limit exceeded|out of call volume quota|balance (?:is )?exhausted"
        r"|top up your (?:balance|account)"
        r"|credit limit exceeded|requires billing|(?:令牌|用户|账户)?(?:额度|余额|余量)(?:已)?(?:用尽|不足|耗尽)",
        "Anthropic, xAI, LiteLLM, Portkey, Azure API Management, DeepInfra, Together, Google, One API, Tencent",
        *_FOR_MONEY,
    ),
    _says(QuotaExceeded, r"good standing", "DashScope, Arrearage", *_FOR_MONEY),
    _says(
        QuotaExceeded,
        r"trial key.{0,80}(?:per|/) ?month|account (?:is |has been )?suspended",
        "Cohere, Fireworks",
        *_FOR_MONEY,
    ),
    # Models.
    _says(
        NotFound,
        r"\bmodel (?:does )?not exist|is not a valid model|\bmodel not found|\binvalid model:|模型不存在",
        "DeepSeek, SiliconFlow, OpenRouter, LM Studio, Mistral, GLM, with status 400",
        400,
    ),
    # Keys.
    _says(
        AuthFailed, r"api key not valid|incorrect api key|invalid api[- ]key", "Gemini and others, with status 400", 400
    ),
)
"""Tried in order, after all codes; the first match decides."""

STREAM_ONLY = re.compile(
    r"stream(?:ing)?[- ]?only|only supports? stream|stream only|must be streamed|enable the stream parameter"
    r"|only available (?:as|with|in) (?:a )?stream|does not support (?:http call|non-?stream)"
    r"|non-?stream(?:ing)? (?:is|calls?|requests?) .{0,30}not"
    r"|for non-?streaming calls|set ['\"`]?stream['\"`]?\s*[=:to ]{1,4}true"
    r"|streaming is (?:required|strongly recommended)|stream is required"
    r"|when ['\"`]?stream['\"`]?\s*=\s*false|才能进行非流式调用|仅支持流式|只支持流式",
    re.IGNORECASE,
)
"""Errors of models that only stream: DashScope (qwq, qvq, omni, thinking), ModelScope, Anthropic, Replicate."""
NO_TEMPERATURE = re.compile(
    r"(?:unsupported (?:value|parameter)|not support(?:ed)?|unsupported|deprecated|does not support).{0,80}temperature"
    r"|temperature.{0,80}(?:not support|unsupported|deprecated|only the default|must be (?:set to )?1\b|only 1\b)",
    re.IGNORECASE | re.DOTALL,
)
"""Errors of reasoning models that take no temperature: OpenAI and Azure (o series, GPT-5), Anthropic, Moonshot."""
STREAM_REFUSED = re.compile(r"\bstream(?:ing|ed|s)?\b", re.IGNORECASE)
"""Errors of servers that support no streams, when a request asked for one only to show its text while it grows."""
STREAM_OPTIONS = re.compile(r"stream_options|include_usage", re.IGNORECASE)
"""Errors of servers that do not support ``stream_options``."""
