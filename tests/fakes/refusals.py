"""Requests that the fake endpoint refuses for what they ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.fakes import answers, ears
from tests.fakes.faults import Status


def unfit_for(body: dict[str, Any], models: Sequence[str] | None, context: int | None, *, timed: bool) -> Status | None:
    """The refusal of an unknown model, of a format of transcriptions, or of a prompt that is too long."""
    if (unheard := ears.refusal(body, timed=timed)) is not None:
        return Status(400, "unsupported_value", "invalid_request_error", unheard)
    if models is not None and body.get("model") not in models:
        return Status(404, "model_not_found", "invalid_request_error", f"There is no model {body.get('model')!r}.")
    if context is not None and answers.tokens_in(body) > context:
        message = f"This model's maximum context length is {context} tokens."
        return Status(400, "context_length_exceeded", "invalid_request_error", message)
    return None


def no_flex(share: float | None, chance: Callable[[], float]) -> Status | None:
    """The refusal of a request on the flex tier: always without such a tier, else for this share of requests."""
    if share is None:
        message = "Invalid service_tier argument: flex is not available for this model."
        return Status(400, "invalid_value", "invalid_request_error", message)
    if chance() < share:
        return Status(429, "resource_unavailable", "resource_unavailable", "Resource Unavailable")
    return None
