"""Converter of a client's prompt templates to our placeholders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lvqa_ray.serve.invalid import invalid

ASR, SHOTS, EXTRA_PLACEHOLDERS = "{videoAsrText}", "{videoAnalysisText}", "{videoExtraInfo}"
SHOT_VARIABLES = {ASR: "{asr}", EXTRA_PLACEHOLDERS: "{video_extra_info}"}
SUMMARY_VARIABLES = {
    ASR: "{video_asr_text}",
    SHOTS: "{video_analysis_text}",
    EXTRA_PLACEHOLDERS: "{video_extra_info}",
}


def converted(given: str | None, name: str, variables: Mapping[str, str], *, needed: Sequence[str]) -> str | None:
    """Convert a template. Only the documented variables are variables; all other braces are text, such as JSON.

    Args:
        given: The template.
        name: Name of its field, for messages.
        variables: Our placeholder for each variable of the vendor's API.
        needed: Required variables.

    Raises:
        RefusedError: A required variable is missing.
    """
    if not given:
        return None
    for variable in needed:
        if variable not in given:
            raise invalid(f"{name} must hold {variable}.")
    parts = re.split("(" + "|".join(map(re.escape, variables)) + ")", given)
    return "".join(variables.get(part) or part.replace("{", "{{").replace("}", "}}") for part in parts)
