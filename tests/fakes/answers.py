"""What the fake endpoint says: texts that follow from the request alone, so the same request has the same answer."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

_CAPTION_LINE = re.compile(r"^From (\d+) to (\d+), (.+)$", re.MULTILINE)
_REASON_LINE = re.compile(r"^\s*(?:[-*•]|Step \d+:)\s*(.+)$", re.MULTILINE)
_ADJECTIVES = ("red", "green", "blue", "bright", "dim", "narrow", "wide", "crowded")
_THINGS = ("street", "kitchen", "meadow", "river", "stage", "workshop", "harbour", "corridor")
_EVENTS = ("a bird lands", "a door opens", "two people talk", "a light goes out", "a ball rolls past", "rain begins")
_NOWHERE = ("a ship sinks in a storm", "a train enters a tunnel", "a choir sings in a church", "a fire burns a barn")


def answer(body: dict[str, Any]) -> str:
    """The text that answers a chat request: a caption, a question or prose, by what it is asked."""
    media = media_urls(body)
    text = text_of(body)
    if media:
        return caption(media)
    if _CAPTION_LINE.search(text) or ("QUESTION:" in text and "Start thinking" not in text):
        written = question(text)
        return as_json(written) if (body.get("response_format") or {}).get("type") == "json_schema" else written
    return prose(text)


def as_json(written: str) -> str:
    """The same question as JSON."""
    asked, options, answer, *steps = re.split(r"\n?(?:OPTIONS|ANSWER|REASONS):\s?|\n?##### From ", written)
    said: dict[str, Any] = {
        "question": asked.removeprefix("QUESTION: "),
        "options": {line[0]: line[3:] for line in options.splitlines()},
        "answer": answer,
        "steps": [],
    }
    for step in filter(None, steps):
        head, *reasons = step.splitlines()
        start, end = head.strip("[]:").split(" to ")
        said["steps"].append({"start_s": int(start), "end_s": int(end), "reasons": [line[2:] for line in reasons]})
    return json.dumps(said)


def caption(media: list[str]) -> str:
    """A caption that states how many pictures there were and a hash of them."""
    digest = hashlib.sha256("\n".join(media).encode()).digest()
    adjective, thing, event = (
        choices[byte % len(choices)] for choices, byte in zip((_ADJECTIVES, _THINGS, _EVENTS), digest, strict=False)
    )
    return f"A {adjective} {thing} is seen in {len(media)} images with the mark {digest.hex()[:8]}, and {event}."


def question(text: str) -> str:
    """A well-formed question whose reasons cite spans that occur in the text, and whose answer is the first event."""
    lines = _CAPTION_LINE.findall(text) or [("0", "10", "nothing was said")]
    start, end, said = lines[0]
    right = _short(said)
    wrong = list(dict.fromkeys(_short(other) for _, _, other in lines[1:] if _short(other) != right))
    texts = [*wrong, *_NOWHERE][:3]
    at = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 4
    texts.insert(at, right)
    options = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", texts, strict=True))
    steps = [f"##### From [{start} to {end}]:\n- {right} is the first thing that is described"]
    if len(lines) > 1:
        later_start, later_end, later = lines[-1]
        steps.append(f"##### From [{later_start} to {later_end}]:\n- {_short(later)} comes only after that")
    return (
        f"QUESTION: Which of these is seen first, between {start} and {end} seconds?\nOPTIONS:\n{options}\n"
        f"ANSWER: {'ABCD'[at]}\nREASONS:\n" + "\n".join(steps)
    )


def prose(text: str) -> str:
    """Prose that repeats the reasons it was given."""
    reasons = [reason.strip().rstrip(".") for reason in _REASON_LINE.findall(text)]
    told = ". Then, ".join(reasons) if reasons else f"the text of {len(text)} characters says so"
    return f"Let me think about the video. First, {told}. So this answers the question."


def text_of(body: dict[str, Any]) -> str:
    """All the text of a request's messages."""
    texts = []
    for message in body.get("messages", []):
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        texts += [part["text"] for part in parts if part.get("type") == "text"]
    return "\n".join(texts)


def media_urls(body: dict[str, Any]) -> list[str]:
    """URLs of the pictures and videos of a request, in order."""
    urls = []
    for message in body.get("messages", []):
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            kind = part.get("type")
            if kind in {"image_url", "video_url"}:
                urls.append(part[kind]["url"])
    return urls


def fingerprint(body: dict[str, Any]) -> str:
    """Names a request by all of its body."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def tokens_in(body: dict[str, Any]) -> int:
    """Prompt tokens: a word is one, a picture is 85."""
    return len(text_of(body).split()) + 85 * len(media_urls(body))


def tokens_out(text: str) -> int:
    """Reply tokens: a word is one."""
    return len(text.split())


def _short(said: str) -> str:
    return " ".join(said.rstrip(".").split()[:24])
