"""Drafts: what a reasoning model thinks aloud, in ``<think>`` tags, before its answer."""

from __future__ import annotations

import re

DRAFT_START = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
DRAFT_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)


def without_draft(reply: str) -> str:
    """The answer proper, stripped: what stands after the last draft.

    Some servers swallow the opening tag, so a closing one alone ends a draft too.

    Returns:
        The answer; empty where the reply ended before the draft did, for then there is none.
    """
    answer = DRAFT_END.split(reply)[-1]
    return "" if DRAFT_START.search(answer) else answer.strip()
