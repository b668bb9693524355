"""Progress of a starting engine, from its log: a few words for the panel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_Phrase = Callable[[re.Match[str]], str]
_MOST_TAIL = 20_000
"""Characters at the end of a log that are searched: progress is at its end."""
_BAR = r"\s*(?P<percent>\d{1,3})%[^\r\n]*?(?P<done>\d+)/(?P<all>\d+)"
"""A progress bar of tqdm: percent, bar, and steps of all steps."""
_STEPS: tuple[tuple[re.Pattern[str], _Phrase], ...] = (
    (
        re.compile(
            r"(?:[Ll]oading (?:safetensors|pt|np_cache)[^:\r\n]*|Multi-thread loading[^:\r\n]*|Loading weights)[:|]"
            + _BAR
        ),
        lambda found: f"loading weights {found['done']} of {found['all']}",
    ),
    (
        re.compile(r"Capturing[^:\r\n]*(?:graph|CG)[^:\r\n]*:" + _BAR, re.IGNORECASE),
        lambda found: f"capturing graphs {found['done']} of {found['all']}",
    ),
    (
        re.compile(r"Capturing batches[^:\r\n]*:" + _BAR),
        lambda found: f"capturing graphs {found['done']} of {found['all']}",
    ),
    (
        re.compile(r"[\w.\-]+\.(?:safetensors|bin|gguf|pt|pth)(?:\([^)]*\))?:\s*(?P<percent>\d{1,3})%"),
        lambda found: f"downloading {found['percent']} %",
    ),
    (
        re.compile(r"(?:Fetching|Downloading)[^:\r\n]*files?[^:\r\n]*:" + _BAR),
        lambda found: f"downloading {found['percent']} %",
    ),
    (re.compile(r"Starting to load model|Load weight begin|load_model: loading model"), lambda _: "loading weights"),
    (re.compile(r"load_tensors: loading model tensors"), lambda _: "loading weights"),
    (re.compile(r"Loading weights took|Load weight end|Model loading took"), lambda _: "weights loaded"),
    (re.compile(r"torch\.compile|Dynamo bytecode transform|Compiling a graph"), lambda _: "compiling"),
    (re.compile(r"Capture [^\r\n]*graph[^\r\n]* begin|Capturing the model for"), lambda _: "capturing graphs"),
    (re.compile(r"warming up the model"), lambda _: "warming up"),
    (
        re.compile(r"Application startup complete|ready to roll|server is listening|all slots are idle"),
        lambda _: "ready",
    ),
)


def loading_progress(log_tail: str) -> str:
    """What a starting engine does, from the end of its log, such as "loading weights 3 of 5"; empty if unknown."""
    last = max(_found(log_tail[-_MOST_TAIL:]), key=lambda each: each[0], default=(0, ""))
    return last[1]


def _found(text: str) -> Iterator[tuple[int, str]]:
    """Every step that the log names, with the place of its last mention."""
    for pattern, phrase in _STEPS:
        match = None
        for match in pattern.finditer(text):  # noqa: B007 - only the last one counts
            pass
        if match:
            yield match.end(), phrase(match)
