"""Rule-based rewrites of text: merged caption lines, and mentions of captions turned into mentions of the video."""

# ruff: noqa: RUF001 -- typographic apostrophes and quotation marks are what some models write

from __future__ import annotations

import re

from lvqa_ray.qa.time_labels import cut
from lvqa_ray.records import AnyQuestion

_WORD = re.compile(r"[^\W_]+")
_FOLLOWED = re.compile(r"['’.-]")

# Base form to third person, for the subject "the captions" that becomes "the video".
_VERBS = {
    "are": "is", "are not": "is not", "aren't": "isn't", "were": "was", "were not": "was not", "have": "has",
    "do": "does", "do not": "does not", "don't": "doesn't", "don’t": "doesn’t",
    "confirm": "confirms", "contain": "contains", "depict": "depicts", "describe": "describes", "detail": "details",
    "emphasize": "emphasizes", "establish": "establishes", "explain": "explains", "focus": "focuses", "give": "gives",
    "highlight": "highlights", "imply": "implies", "include": "includes", "indicate": "indicates", "list": "lists",
    "make": "makes", "mention": "mentions", "note": "notes", "point": "points", "portray": "portrays",
    "present": "presents", "provide": "provides", "refer": "refers", "report": "reports", "reveal": "reveals",
    "say": "says", "show": "shows", "specify": "specifies", "state": "states", "suggest": "suggests", "tell": "tells",
}  # fmt: skip
_SOURCE_VERBS = tuple(set(_VERBS.values()) - {"is", "is not", "isn't", "was", "was not", "has", "says"})

_KIND = r"(?:(?:video|clip)(?:['’]s)?|above|available|detailed|given|merged|provided|scene)\s+"
_ORDER = r"(?:earlier|final|first|initial|last|later|next|opening|previous|second|subsequent|third)\s+"
_REFERENCE = re.compile(
    r"(?<![\w'’-])"
    r"(?P<det>(?:all\s+(?:of\s+)?)?(?:the|these|those|this)\s+)?"
    rf"(?P<kind>(?:{_KIND}){{0,3}})(?P<order>{_ORDER})?"
    # In "the captions video captions", rewriting any part would create a new reference for a second rewrite.
    rf"(?P<noun>captions?)(?![\w-]|['’]|\s+(?:{_KIND}){{0,3}}(?:{_ORDER})?captions?\b)",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"(?P<gap>(?:\s+(?:at|between|for|from)\s+[\[(]?[\d:.]+(?:\s?(?:to|and|-|–|—)\s?[\d:.]+)?(?:\s?s(?:ec\w*)?)?[\])]?)?"
    r"\s+(?:(?:also|always|never|often|then|\w{2,20}ly)\s+){0,2})"
    rf"(?P<verb>{'|'.join(sorted(_VERBS, key=len, reverse=True))})\b",
    re.IGNORECASE,
)
_SINGULAR_VERB = re.compile(rf"\s+(?:(?:also|then|\w{{2,20}}ly)\s+)?(?:{'|'.join(_SOURCE_VERBS)})\b", re.IGNORECASE)
_QUOTES = "\"“‘'«「`"
_SPAN = re.compile(r"\s+(?:(?:at|between|for|from)\s+)?[\[(]?\d", re.IGNORECASE)

# Words that mark text in the picture, as opposed to the captions that the question was written from.
_ON_SCREEN_AFTER = re.compile(
    r"\s+(?:that\s+|which\s+)?(?:(?:are|is|was|were|being)\s+)?(?:\w{2,20}ly\s+)?(?:"
    r"on|off|across|along|over|overlaid|below|beneath|underneath|near|above|at\s+(?![\[(]?\d)|burned|burnt"
    r"|appear\w*|disappear\w*|chang\w+|display\w*|fad\w+|flash\w*|pop\w*|printed|read\w*|scroll\w*|shown|show(?:s|ing)?\s+up"
    r"|superimposed|turn\w*|visible|written|translat\w+|track\w*|box\w*|bar\w*|button\w*|font\w*|text|setting\w*"
    r"|in\s+(?:(?:a|an|the)\s+)?(?:bottom|bold|cent\w+|corner|frame|lower|middle|top|upper|left|right|background|foreground"
    r"|large|small|white|yellow|red|black|blue|green|picture|image|english|spanish|french|chinese)"
    r")\b|\s+in\s+[A-Z]",
    re.IGNORECASE,
)
_SAYS_QUOTED = re.compile(rf"\s+(?:says?|shows?|states?|spells?)\s*[:,]?\s*[{_QUOTES}]", re.IGNORECASE)
_QUOTED = re.compile(rf"\s+\w+\s*[:,]?\s*[{_QUOTES}]")
_UNTOUCHABLE_BEFORE = re.compile(
    r"(?:\b(?:closed|open|burned-in|on-screen|onscreen|screen|text|subtitles?|live|photo|an?)"
    r"|\b(?:add|disabl|enabl|hid|read|switch|toggl|turn|watch)\w*(?:\s+(?:on|off|through))?"
    r"|\b(?:any|both|each|either|few|many|most|neither|none|one|several|some|two|three)\s+of)\s+$",
    re.IGNORECASE,
)
_PREPOSITION_BEFORE = re.compile(
    r"\b(?:about|across|among|at|between|by|for|from|in|into|of|on|per|through|throughout|to|under|with|within)\s+$",
    re.IGNORECASE,
)
_CITED_BEFORE = re.compile(
    r"\b(?:according\s+to|based\s+on|(?:described|indicated|mentioned|noted|shown|stated)\s+(?:by|in))\s+$",
    re.IGNORECASE,
)
_CAPTIONS_BEFORE = re.compile(r"\bcaptions?\s+$", re.IGNORECASE)
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n]\s*)$")


def merged_line(start_s: float, end_s: float, caption: str, decimals: int = 0) -> str:
    """One line of a video's merged captions: ``From {start} to {end}, {caption}``.

    Times are cut to whole seconds, or to as many decimals as `lvqa_ray.qa.time_labels` finds necessary.
    White space in the caption becomes single spaces, and its first letter is lower-cased unless that would damage the
    word. Unchanged: a first word with further capitals or digits (``TV``, ``3D``, ``McDonald's``, ``U.S.``), a single
    letter other than ``A`` (``I``, ``I'm``, ``X marks``), and a single letter joined to more (``T-shirt``,
    ``J. Smith``). A proper name (``Alice walks``) looks like an ordinary word and is lower-cased, as in the reference.

    Args:
        start_s: Start of the clip in seconds.
        end_s: End of the clip in seconds.
        caption: The clip's caption; callers leave out empty ones.
        decimals: Number of decimals of the times.
    """
    text = " ".join(caption.split())
    if _lowers_well(text):
        text = text[0].lower() + text[1:]
    return f"From {cut(start_s, decimals)} to {cut(end_s, decimals)}, {text}"


def replace_caption_mentions(text: str) -> str:
    """Replace mentions of the captions with mentions of the video.

    Replaced, in upper or lower case:

    - "the captions", also "these", "those", "all (of) the", and with "provided", "given", "merged", "above",
      "available", "detailed", "scene", "clip", "video" or "video's" before the noun: "the video". With "first", "next",
      "later" and the like: "the first part of the video".
    - The verb after it, if the captions are its subject and it is a common reporting verb (show, describe, mention,
      indicate, state, suggest, note, ...) or are/were/have/do: "the captions do not show", "the video does not show".
      A second verb ("show a car and mention a dog") is not found.
    - "the caption" in the singular, only before such a verb, before a time ("the caption from 0 to 10") or after
      "according to", "based on", "described in" and the like.
    - "captions" alone, only after those, or at the start of a sentence before such a verb; and "video captions".

    Unchanged, because it may be text in the picture or another word: "closed captions", "a caption", captions that
    are, appear, are shown or read on, at, across or near something, or in a corner or a colour; captions that someone
    turns on or reads; a caption that says something in quotation marks; "none of the captions"; "captioned",
    "recaption", "caption-based", "the captions' order". In doubt the text stays unchanged.

    Returns:
        The rewritten text; a second call changes nothing.
    """
    pieces: list[str] = []
    done = 0
    for match in _REFERENCE.finditer(text):
        before, after = text[max(0, match.start() - 60) : match.start()], text[match.end() : match.end() + 80]
        if not _is_source(match, before, after):
            continue
        pieces += [text[done : match.start()], _video(match, after)]
        done = match.end()
        verb = _VERB.match(text, done)
        plural = match["noun"].lower().endswith("s")
        if plural and verb is not None and _PREPOSITION_BEFORE.search(before) is None:
            pieces.append(verb["gap"] + _like(verb["verb"], _VERBS[verb["verb"].lower()]))
            done = verb.end()
    pieces.append(text[done:])
    return "".join(pieces)


def reason_text(q: AnyQuestion) -> str:
    """Format the reasoning for the reformat prompt.

    ``Start thinking.`` on the first line, then a line ``Step i: reason reason`` per step: its reasons in order, after
    `replace_caption_mentions`, each with a full stop if it has no closing mark.
    """
    lines = ["Start thinking."]
    for number, step in enumerate(q.steps, start=1):
        lines.append(
            f"Step {number}: " + " ".join(_sentence(replace_caption_mentions(reason)) for reason in step.reasons)
        )
    return "\n".join(lines)


def _lowers_well(text: str) -> bool:
    word = _WORD.match(text)
    if word is None:
        return False
    token = text.split(" ", 1)[0]
    if any(char.isupper() or char.isdigit() for char in token[1:]):
        return False
    if len(word[0]) == 1:
        return word[0] == "A" and _FOLLOWED.match(text, 1) is None
    return True


def _is_source(match: re.Match[str], before: str, after: str) -> bool:
    if _ON_SCREEN_AFTER.match(after) or _UNTOUCHABLE_BEFORE.search(before):
        return False
    cited = _CITED_BEFORE.search(before) is not None
    if not match["noun"].lower().endswith("s"):
        is_reference = cited or bool(_SINGULAR_VERB.match(after) or _SPAN.match(after))
        return is_reference and match["det"] is not None and _QUOTED.match(after) is None
    if match["det"] is not None or _SAYS_QUOTED.match(after):
        return _SAYS_QUOTED.match(after) is None
    subject = _SENTENCE_START.search(before) and _VERB.match(after)
    return bool(cited or subject or "video" in match["kind"].lower()) and _CAPTIONS_BEFORE.search(before) is None


def _video(match: re.Match[str], after: str) -> str:
    bare = match["det"] is None and match["kind"] and _VERB.match(after) is None
    words = "video" if bare and match["order"] is None else "the video"
    if match["order"] is not None:
        words = f"the {match['order'].strip().lower()} part of the video"
    return _like(match[0], words)


def _like(old: str, new: str) -> str:
    """Apply the capitalization of the old words to the new ones."""
    if old.isupper():
        return new.upper()
    return new[0].upper() + new[1:] if old[:1].isupper() else new


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "。", "！", "？", '."', ".”", '?"', '!"')) else f"{text}."
