"""Replies of the fake endpoint: deterministic functions of the request, so the same request has the same reply."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from lvqa_ray.demo.replies import REPLIES, Asked

_CAPTION_LINE = re.compile(r"^From (\d+(?:\.\d+)?) to (\d+(?:\.\d+)?), (.+)$", re.MULTILINE)
_REASON_LINE = re.compile(r"^\s*(?:[-*•]|Step \d+:)\s*(.+)$", re.MULTILINE)
_ADJECTIVES = ("red", "green", "blue", "bright", "dim", "narrow", "wide", "crowded")
_THINGS = ("street", "kitchen", "meadow", "river", "stage", "workshop", "harbour", "corridor")
_EVENTS = ("a bird lands", "a door opens", "two people talk", "a light goes out", "a ball rolls past", "rain begins")
_COUNT = re.compile(r"\bWrite (\d+) hard multiple-choice questions\b")
_KIND = re.compile(r"^\d+\. (\w+): ", re.MULTILINE)
_GIVEN = re.compile(r"This is what happens in a video:\n\n(.*?)\n\n(?:Write (\d+) titles|Order what)", re.DOTALL)
_STYLES = {
    "Tell the whole story of the video": "plot_detail",
    "Sum up the video for somebody": "summary",
    "Reply with one tag a line": "tags",
    "Name the moments that would make somebody": "highlights",
    'Its fields are "title", a text; "tags"': "multi_task",
}
_STEMS = (
    "Which of these is seen first?",
    "What is the very last thing to be shown before the end?",
    "Around the middle, what happens according to the pictures?",
    "If one watches from start to end, which event stands out as being there at all?",
)


def answer(body: dict[str, Any]) -> str:
    """Reply to a chat request: a caption, a question or prose, depending on the prompt."""
    media = media_urls(body)
    text = text_of(body)
    if (verdict := check(text)) is not None:
        return verdict
    if told := of_a_whole_film(text):
        return told
    if media and "hard multiple-choice question" not in text:
        return caption(media)
    if _CAPTION_LINE.search(text) or ("QUESTION:" in text and "Start thinking" not in text):
        as_schema = (body.get("response_format") or {}).get("type") == "json_schema"
        if count := _COUNT.search(text):
            return questions(text, int(count[1]), as_schema=as_schema)
        written = question(text, _asked_before(text))
        return as_json(written) if as_schema else written
    return prose(text)


def of_a_whole_film(text: str) -> str:
    """Demo endpoint's reply for a whole-video task; empty for any other request."""
    if given := _GIVEN.search(text):
        stage, count = ("titles", given[2]) if given[2] else ("mind_map", "")
        return REPLIES[stage](Asked({"summary": given[1], "count": count}))
    style = next((style for mark, style in _STYLES.items() if mark in text), "")
    if not style or not _CAPTION_LINE.search(text):
        return ""
    seen, _, said = text.partition("Second, what is said in it")
    return REPLIES["summary"](Asked({"video_analysis_text": seen, "video_asr_text": said, "style": style}))


def check(text: str) -> str | None:
    """Reply to a check or a summary; ``None`` for any other request."""
    if 'the line "SCORE: "' in text:
        return "It is there.\nSCORE: 1"
    if "Reply with these lines" in text:
        return re.sub("<yes or no>.*", "no", text.partition("Reply with these lines")[2].partition("\n\n")[2])
    if "Sum them up" in text:
        return summary(text)
    return pick(text) if 'the line "ANSWER: "' in text else None


def as_json(written: str) -> str:
    """Convert a question to JSON."""
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
        said["steps"].append({"start_s": float(start), "end_s": float(end), "reasons": [line[2:] for line in reasons]})
    return json.dumps(said)


def caption(media: list[str]) -> str:
    """Caption with the number of images and their hash."""
    digest = hashlib.sha256("\n".join(media).encode()).digest()
    adjective, thing, event = (
        choices[byte % len(choices)] for choices, byte in zip((_ADJECTIVES, _THINGS, _EVENTS), digest, strict=False)
    )
    return f"A {adjective} {thing} is seen in {len(media)} images with the mark {digest.hex()[:8]}, and {event}."


def questions(text: str, count: int, *, as_schema: bool = False) -> str:
    """Several questions of the requested categories, each about another moment."""
    kinds = _KIND.findall(text)
    asked = _asked_before(text)
    written = [(kinds[index % len(kinds)], question(text, asked + index)) for index in range(count)]
    if as_schema:
        return json.dumps({"questions": [{"category": kind, **json.loads(as_json(one))} for kind, one in written]})
    return "\n\n".join(f"CATEGORY: {kind}\n{one}" for kind, one in written)


def _asked_before(text: str) -> int:
    """Number of earlier questions, which the prompt lists after the captions."""
    return sum(text.count(f"- {stem}") for stem in _STEMS)


def question(text: str, number: int = 0) -> str:
    """Well-formed question whose reasons cite spans of the text; the first question asks for the first event."""
    lines = _CAPTION_LINE.findall(text) or [("0", "10", "nothing was said")]
    place = _place(number, len(lines))
    start, end, said = lines[place]
    right = _short(said)
    wrong = list(dict.fromkeys(_short(other) for _, _, other in lines if _short(other) != right))
    texts = [*wrong, *(_short(caption([text, str(n)])) for n in range(3))][:3]
    at = int(hashlib.sha256(f"{number or ''}{text}".encode()).hexdigest(), 16) % 4
    texts = [said[0].lower() + said[1:] for said in texts]
    texts.insert(at, right)
    options = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", texts, strict=True))
    steps = [f"##### From [{start} to {end}]:\n- {right} is what is described there, so the answer is {'ABCD'[at]}"]
    if place + 1 < len(lines):
        later_start, later_end, later = lines[-1]
        steps.append(f"##### From [{later_start} to {later_end}]:\n- {_short(later)} comes only after that")
    again = f" This is question {number}." if number >= len(_STEMS) else ""
    return f"QUESTION: {_STEMS[number % 4]}{again}\nOPTIONS:\n{options}\nANSWER: {'ABCD'[at]}\nREASONS:\n" + "\n".join(
        steps
    )


def summary(text: str) -> str:
    """Summary in three lines: the first words of each third of the captions."""
    lines = _CAPTION_LINE.findall(text)
    thirds = [third for n in range(3) if (third := lines[n * len(lines) // 3 : (n + 1) * len(lines) // 3])]
    return "\n".join(f"From {third[0][0]} to {third[-1][1]}, {_short(third[0][2])}" for third in thirds)


def pick(text: str) -> str:
    """Answer to one of these questions: its key if the prompt has the captions, else a letter derived from the text."""
    lines = _CAPTION_LINE.findall(text)
    thoughts = text.partition("What was thought:")[2].casefold()
    options = dict(re.findall(r"^([A-D])\. (.+)$", text, re.MULTILINE))
    number = next((number for number, stem in enumerate(_STEMS) if f"\n{stem}" in text), None)
    letter = "ABCD"[int(hashlib.sha256(text.encode()).hexdigest(), 16) % 4]
    if lines and number is not None:
        right = _short(lines[_place(number, len(lines))][2])
        letter = next((letter for letter, option in options.items() if option == right), letter)
    letter = next((key for key, said in options.items() if f"{said.casefold()} is what is" in thoughts), letter)
    return f"Let me see.\nANSWER: {letter}"


def _place(number: int, of: int) -> int:
    return (0, of - 1, of // 2, of // 3)[number % 4]


def prose(text: str) -> str:
    """Prose that repeats the given reasons."""
    _, mark, reason = text.partition("Start thinking.")
    told_in = reason.partition("Reply with")[0] if mark else text
    reasons = [reason.strip().rstrip('".') for reason in _REASON_LINE.findall(told_in)]
    told = ". Then, ".join(reasons) if reasons else f"the text of {len(text)} characters says so"
    return f"Let me think about the video. First, {told}. So this answers the question."


def text_of(body: dict[str, Any]) -> str:
    """Text of all messages of a request."""
    texts = []
    for message in body.get("messages", []):
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        texts += [part["text"] for part in parts if part.get("type") == "text"]
    return "\n".join(texts)


def media_urls(body: dict[str, Any]) -> list[str]:
    """URLs of the images and videos of a request, in order."""
    urls = []
    for message in body.get("messages", []):
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            kind = part.get("type")
            if kind in {"image_url", "video_url"}:
                urls.append(part[kind]["url"])
    return urls


def fingerprint(body: dict[str, Any]) -> str:
    """Hash of a request's body."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def tokens_in(body: dict[str, Any]) -> int:
    """Prompt tokens: 1 per word, 85 per image."""
    return len(text_of(body).split()) + 85 * len(media_urls(body))


def tokens_out(text: str) -> int:
    """Reply tokens: 1 per word."""
    return len(text.split())


def _short(said: str) -> str:
    return " ".join(said.rstrip(".").split()[:24])
