"""Text format of QA replies: parses to a `Question` and renders one.

::

    QUESTION: <text, on one line or several>
    OPTIONS:
    A. <text>            B, C and D likewise
    ANSWER: <letter>
    REASONS:
    ##### From [<start> to <end>]:
    - <reason>

The parser works line by line. Labels at the start of a line split the reply into four sections, each with its own
parser. Unambiguous decoration (bold, Markdown headings, other bullets, ``<think>`` parts) is removed; anything
ambiguous is an error, because a misread question looks like a correct one. A reply truncated between two reasons looks
complete; only the transport's finish reason shows the truncation.
"""

# ruff: noqa: RUF001 -- full-width marks and other dashes are what some models write

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.formats.placeholders import check_filled_in
from lvqa_ray.qa.formats.reasoning_steps import read_steps, without_emphasis, without_invisible
from lvqa_ray.qa.formats.section_labels import read_labels
from lvqa_ray.records import LETTERS, AnyQuestion, KeyedQuestion, Kind, Letter, OrderKey, Question

_LABELS = {
    "QUESTION": ParseFault.NO_QUESTION,
    "OPTIONS": ParseFault.NO_OPTIONS,
    "ANSWER": ParseFault.NO_ANSWER,
    "REASONS": ParseFault.NO_REASONS,
}
_NOISE = re.compile(r"`{3,}[\w-]*|([-*_=])\1{2,}")  # code fences and rules
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|as an ai|unable to|(?:can|could|will|do|am)\s?not|can[’']t|won[’']t)\b|抱歉|无法|不能",
    re.IGNORECASE,
)
_OPTION = re.compile(
    r"(?:[(\[（](?P<wrapped>[A-Za-z])[)\]）][.:：]?|(?P<bare>[A-Za-z])[.．)）、:：](?![A-Za-z]\.))(?P<text>.*)",
    re.DOTALL,
)
_ANSWER = re.compile(
    r"(?:(?:so|thus|therefore|hence),? )?"
    r"(?:(?:the )?(?:(?:correct|right|best|final) )?(?:answer|option|choice)(?: is)?(?: ?:)? ?)*"
    r"[(\[]?(?P<letter>[a-z])[)\]]?(?:[.:!]*|(?: is)?(?: the)? (?:correct|right)(?: answer| option| choice)?\.?"
    r"|(?: ?[.):–—-])? ?(?P<text>.+))"
)

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{\s*(?:\\(?:text|mathrm|mathbf)\w*\s*\{)?([^{}]*)\}")
_ENDING = re.compile(
    r"(?:\b(?:is|be|option|choice|answer|letter|choose|pick|select)\b|[:—–]|[是为為选選择擇项項案])\s*"
    r"[(\[]?(?P<letter>[A-D])[)\]]?[.!。！]*$"
)
"""End of an answer sentence that names an option."""
_CAPITAL_LETTER = re.compile(r"(?<![A-Za-z0-9'’.-])[A-D](?![A-Za-z0-9'’]|-[A-Za-z])")
_ARTICLE = re.compile(r"A\s+[a-z]")
_DENIED = re.compile(
    r"\b(?:not|no|none|neither|nor|never|cannot|except|without|unless|if|or|either|unsure|unclear|guess|maybe|perhaps|wrong"
    r"|incorrect|false)\b|n['’]t\b|不|非|没|沒|错|錯|或|可能|[?？]",
    re.IGNORECASE,
)
"""Words that make the letter at the end of a sentence doubtful."""

ANSWER_FORMS: Mapping[Kind, str] = {
    "span": "the time spans in seconds, such as 12 to 18; 40 to 44",
    "number": "one number in digits",
    "order": "the numbers of the moments in the order of time, such as 2, 1, 3",
    "open": "one to five words",
}
"""What the answer to a question without options is, for who answers it."""


def parse_question(reply: str) -> Question:
    """Read a reply in the QA format.

    Texts stay as written, except for surrounding white space. A line break stays in a question; in an option or a
    reason it becomes a space.

    Args:
        reply: The model's reply.

    Raises:
        ParseError: The reply does not contain exactly one question with four different options, one answer and at
            least one step with a reason; see ``kind``.
    """
    sections = _sections(reply_lines(reply))
    question = "\n".join(sections["QUESTION"]).strip()
    if not question:
        raise ParseError(ParseFault.NO_QUESTION, "There is no text after QUESTION.")
    if _folded(question).upper() in LETTERS:
        raise ParseError(ParseFault.NO_QUESTION, f"The text after QUESTION is only the letter {question}.")
    options = _options(sections["OPTIONS"])
    answer = read_answer(sections["ANSWER"], options)
    steps = read_steps(sections["REASONS"])
    check_filled_in(question, options.values(), (reason for step in steps for reason in step.reasons))
    return Question(question=question, options=options, answer=answer, steps=steps)


def render_question(q: Question) -> str:
    r"""Write a question in the canonical QA format, so that `parse_question` returns the same question.

    Raises:
        ValueError: The format cannot represent this question: a text is empty, has white space at an end, contains
            ``\r``, a ``<think>`` tag, a chat-template token or (in an option or a reason) a line break; a line of the
            question is a label (``Answer: ...``), a rule (``---``) or a code fence, or ends in white space; a reason
            is only a step header; a text is a placeholder of the format; the options are only their letters, or differ
            only in case and spaces; or a timestamp contradicts ``start_s`` and ``end_s``.
    """
    lines = [f"QUESTION: {q.question}", "OPTIONS:"]
    lines += [f"{letter}. {q.options.get(letter, '')}" for letter in LETTERS]
    lines += [f"ANSWER: {q.answer}", "REASONS:"]
    for step in q.steps:
        lines.append(f"##### From [{step.timestamp}]:")
        lines += [f"- {reason}" for reason in step.reasons]
    reply = "\n".join(lines)
    try:
        same = parse_question(reply) == q
    except ParseError as error:
        raise ValueError(f"The QA format cannot carry this question: {error}") from error
    if not same:
        raise ValueError("The QA format cannot carry this question: it would be read back as another one.")
    return reply


def full_question(q: AnyQuestion) -> str:
    """A question as one text: the question, then a line ``A. ...`` for each option.

    A question without options ends with a line that says what the answer is; one about an order lists its moments.
    """
    if isinstance(q, KeyedQuestion):
        items = q.key.items if isinstance(q.key, OrderKey) else ()
        listed = [f"{number}. {text}" for number, text in enumerate(items, start=1)]
        return "\n".join([q.question, *listed, f"Answer with {ANSWER_FORMS[q.kind]}."])
    return "\n".join([q.question, *(f"{letter}. {q.options[letter]}" for letter in LETTERS)])


def reply_lines(reply: str) -> list[str]:
    """The lines of the reply without ``<think>`` part, fences and rules.

    Raises:
        ParseError: Nothing is left.
    """
    text = strip_thinking(reply)
    if not text and reply.strip():
        raise ParseError(ParseFault.TRUNCATED, "The reply ends before or right after its <think> draft.")
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ["" if _NOISE.fullmatch(line.strip()) else line.rstrip() for line in lines]


def _sections(lines: list[str]) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    current: list[str] = []  # text before the first label is ignored
    for line, label in zip(lines, read_labels(lines), strict=True):
        if label is None:
            current.append(line)
            continue
        name, rest = label.name, label.rest
        if name in sections:
            raise ParseError(ParseFault.SEVERAL_QUESTIONS, f"{name} stands in the reply more than once.")
        current = sections[name] = [rest]
    if not sections:
        head = "\n".join(lines).strip()[:400]
        if _REFUSAL.search(head):
            raise ParseError(ParseFault.REFUSAL, f"The reply declines: '{' '.join(head.split())[:80]}'.")
        raise ParseError(ParseFault.NO_QUESTION, "The reply has no line that starts with QUESTION:.")
    missing = [name for name in _LABELS if name not in sections]
    if "ANSWER" in missing and "REASONS" in missing:
        raise ParseError(ParseFault.TRUNCATED, f"The reply ends in {list(sections)[-1]}.")
    if missing:
        raise ParseError(_LABELS[missing[0]], f"The reply has no line that starts with {missing[0]}:.")
    return sections


def _options(lines: list[str]) -> dict[Letter, str]:
    found: dict[str, list[str]] = {}
    parts: list[str] | None = None
    for line in lines:
        text = re.sub(r"^[-*•+]\s+", "", without_invisible(line.strip()))
        match = _OPTION.fullmatch(without_emphasis(text)[0])
        if match is not None:
            letter = (match["wrapped"] or match["bare"]).upper()
            if letter in found:
                raise ParseError(ParseFault.DUPLICATE_OPTION, f"Option {letter} stands in OPTIONS more than once.")
            parts = found[letter] = [match["text"].strip()]
        elif text and parts is not None and line[0].isspace():
            parts.append(text)
        elif text:
            # Neither an option nor clearly the rest of one: a guess may add it to the wrong option.
            raise ParseError(ParseFault.BAD_OPTIONS, f"In OPTIONS, the line '{text[:80]}' belongs to no option.")
    texts = {letter: " ".join(filter(None, pieces)) for letter, pieces in found.items()}
    return _four(_spread(texts))


def _spread(texts: dict[str, str]) -> dict[str, str]:
    """Split options that share a line: all four on the first line, or two by two."""
    if set(texts) not in ({"A"}, {"A", "C"}):
        return texts
    spread = dict(texts)
    for before, letter in (("A", "B"), ("B", "C"), ("C", "D")):
        if letter in spread:
            continue
        marker = rf"\s(?:\({letter}\)|(?:\*\*)?{letter}(?:\*\*)?[.)](?:\*\*)?)(?=\s)"
        pieces = re.split(marker, spread[before])
        if len(pieces) != 2:  # no marker, or one of several is part of a text
            return texts
        spread[before], spread[letter] = (piece.strip() for piece in pieces)
    return spread


def _four(texts: dict[str, str]) -> dict[Letter, str]:
    if not texts:
        raise ParseError(ParseFault.NO_OPTIONS, "OPTIONS has no line that starts with a letter and a full stop.")
    extra = sorted(set(texts) - set(LETTERS))
    if extra:
        raise ParseError(ParseFault.BAD_OPTIONS, f"OPTIONS must hold A, B, C and D alone, not {', '.join(extra)}.")
    for letter in LETTERS:
        if letter not in texts:
            raise ParseError(ParseFault.MISSING_OPTION, f"OPTIONS has no option {letter}.")
        if not texts[letter]:
            raise ParseError(ParseFault.EMPTY_OPTION, f"Option {letter} has no text.")
    if all(_folded(text) == letter.lower() for letter, text in texts.items()):
        raise ParseError(ParseFault.EMPTY_OPTION, "The options are only letters: each needs a text.")
    if len({" ".join(text.casefold().split()) for text in texts.values()}) < len(LETTERS):
        raise ParseError(ParseFault.DUPLICATE_OPTION, "Two of the options have the same text.")
    return {letter: texts[letter] for letter in LETTERS}


def read_answer(lines: list[str], options: dict[Letter, str]) -> Letter:
    """Read the lines of an ANSWER section: a letter, the text of an option, or both.

    Raises:
        ParseError: They name no option or more than one.
    """
    given = [line for line in map(_folded, lines) if line]
    if not given:
        raise ParseError(ParseFault.NO_ANSWER, "There is no letter after ANSWER.")
    letters = {_letter(line, options) for line in dict.fromkeys(given)}
    if len(letters) > 1:  # such as a sentence broken over two lines
        letters = {_letter(" ".join(given), options)}
    letter = letters.pop() or _boxed_or_last(lines, options)
    if letter is None:
        text = " ".join(" ".join(lines).split())
        raise ParseError(ParseFault.BAD_ANSWER, f"ANSWER must be one letter from A to D, not '{text[:80]}'.")
    return letter


def _letter(answer: str, options: dict[Letter, str]) -> Letter | None:
    """The option that a line of the answer names by letter, by text, or by both if they agree."""
    named = {letter for letter, text in options.items() if _folded(text) == answer}
    match = _ANSWER.fullmatch(answer)
    if match is not None:
        by_letter = next((letter for letter in LETTERS if letter.lower() == match["letter"]), None)
        if match["text"] is None:
            return by_letter
        if by_letter is not None and _folded(options[by_letter]) == match["text"]:
            named.add(by_letter)
    return named.pop() if len(named) == 1 else None


def _boxed_or_last(lines: list[str], options: dict[Letter, str]) -> Letter | None:
    r"""The option that an answer names in ``\boxed{}``, or by the letter that ends its sentence.

    The letter must be the only one in the text, nothing may be denied, and no other option may be quoted.
    """
    text = " ".join(" ".join(lines).split())
    boxes = {_letter(_folded(box), options) for box in _BOX.findall(text)}
    if boxes:
        return boxes.pop() if len(boxes) == 1 else None
    plain = re.sub(r"[*_`\"“”]", "", unicodedata.normalize("NFKC", without_invisible(text)))
    ending = _ENDING.search(plain)
    letters = [match for match in _CAPITAL_LETTER.finditer(plain) if not _ARTICLE.match(plain, match.start())]
    if ending is None or len(letters) != 1 or _DENIED.search(plain):
        return None
    letter = LETTERS["ABCD".index(ending["letter"])]
    quoted = {other for other, option in options.items() if (named := _folded(option)) and named in _folded(plain)}
    return letter if quoted <= {letter} else None


def _folded(text: str) -> str:
    """Normalize a text for comparison: no case, emphasis, full-width forms, extra spaces or final full stop."""
    visible = without_invisible(unicodedata.normalize("NFKC", text))
    plain = re.sub(r"[*_`\"“”]", "", visible.casefold())
    return " ".join(plain.split()).rstrip(".").rstrip()
