"""Parser for the REASONS section of a QA reply: step headers and their reasons.

The requested header is ``##### From [0 to 10]:``. Models vary its level, brackets, dash and time notation, and the
bullets. Unambiguous variants are accepted, the rest is an error.
"""

# ruff: noqa: RUF001 -- full-width marks and other dashes are what some models write

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.records import ReasoningStep

_NUMBER = r"[0-9]{1,6}(?:\.[0-9]{1,6})?"
_CLOCK = r"(?:[0-9]{1,3}:[0-5]?[0-9]|[0-9]{1,4}):[0-5][0-9](?:[.,][0-9]{1,6})?"
_UNIT = r"\s?(?:s|secs?|seconds?)\b\.?"
# The next characters must not continue a number or a clock: "0 to 1:75" is not "0 to 1" with the text "75".
_TIME = rf"(?:{_CLOCK}|{_NUMBER}(?:{_UNIT})?)(?!\w|[:.,][0-9])"
_BETWEEN = r"\s*[\])】]?\s*(?:to|until|till|through|-|‐|‒|–|—|−|~|～|→)\s*[\[(【]?\s*"
_STEP = r"step\s*[0-9]{1,3}(?![0-9])\s*[:：.)–—-]?(?![0-9])\s*"
_HEADER = re.compile(
    rf"(?:{_STEP})?[\[(【]?\s*(?:from\s*)?[\[(【]?\s*(?:from\s+)?"
    rf"(?P<span>(?P<start>{_TIME}){_BETWEEN}(?P<end>{_TIME}))(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_REST = re.compile(
    r"(?P<notes>(?:\s*(?:[\])】]|(?:s|secs?|seconds?)\b|\([^()\[\]]*\)|\[[^()\[\]]*\]|[,;][^()\[\]]*(?=[\])])))*)"
    r"\s*(?:(?P<colon>[:：])(?P<text>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_OTHER_UNIT = re.compile(r"\b(?:min(?:ute)?s?|h(?:ou)?rs?|frames?|ms|milliseconds?)\b", re.IGNORECASE)
# Lines that look like a header, valid or not.
_SHAPED = re.compile(r"(?:Step|STEP)\s*[0-9]|(?:From|FROM)\s*[\[(【]?\s*[0-9]|[\[【]\s*[0-9]")
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3})(?=[^\s*_])")
_BULLET = re.compile(
    r"(?:[-*•‣◦–—+·●▪](?=\s|$)|[•‣◦●▪]|-(?=[^\W\d_])|\(?[0-9]{1,3}[.)、](?=\s|$))(?P<text>.*)", re.DOTALL
)

_INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
_LEADING = re.compile(rf"[\s{_INVISIBLE}]*[{_INVISIBLE}][\s{_INVISIBLE}]*")
"""Invisible characters before a label, marker or header: byte order marks, zero-width and bidirectional characters."""
_SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’»)\]）」』]*$")
_SHORT_LINE = 72
"""Lines below this length were not wrapped (characters)."""


@dataclass(frozen=True, slots=True)
class StepHeader:
    """A parsed step header.

    Attributes:
        timestamp: The span as text: ``0 to 10`` if both times are plain numbers, else as the model wrote it.
        start_s: Start in seconds.
        end_s: End in seconds, never before the start.
        text: Text after the header's colon on the same line.
    """

    timestamp: str
    start_s: float
    end_s: float
    text: str


@dataclass(slots=True)
class _Draft:
    """A step under construction; each reason is a list of lines."""

    header: StepHeader
    reasons: list[list[str]] = field(default_factory=list)
    plain: bool = True  # no bullet, and no indented line

    def split(self) -> tuple[str, ...]:
        """The reasons; those of a step without bullets are one per line, if no line can be the rest of another."""
        if self.plain and len(self.reasons) == 1:
            lines = self.reasons[0]
            ends = [bool(_SENTENCE_END.search(line)) for line in lines[:-1]]
            short = not any(ends) and all(len(line) < _SHORT_LINE for line in lines[:-1])
            if not any(line[0].islower() for line in lines) and (all(ends) or short):
                return tuple(lines)
        return tuple(" ".join(parts) for parts in self.reasons)


def read_steps(lines: Iterable[str]) -> tuple[ReasoningStep, ...]:
    """Read the lines of a REASONS section.

    A bullet is a reason. A line that is neither bullet nor header continues the reason above it, or is the first reason
    of its step; see `_Draft.split` for steps without bullets. A closing remark after an empty line at the very end is
    ignored.

    Raises:
        ParseError: ``truncated`` if there is no step or the last one has no reason; ``bad_step`` for a line outside
            all steps, an invalid header, or an earlier step without reasons.
    """
    drafts: list[_Draft] = []
    blank = ended = False
    for line in lines:
        text = without_invisible(line.strip())
        if not text:
            blank = True
            continue
        bullet = _BULLET.fullmatch(text)
        header = read_header(text) if bullet is None else None
        if (bullet or header) and ended:
            raise ParseError(ParseFault.BAD_STEP, f"In REASONS, '{text[:80]}' comes after a text outside all steps.")
        if header is not None:
            drafts.append(_Draft(header, [[header.text]] if header.text else []))
        elif not drafts:
            raise ParseError(ParseFault.BAD_STEP, f"In REASONS, '{text[:80]}' comes before the first step header.")
        elif bullet is not None:
            drafts[-1].plain = False
            _add_bullet(drafts[-1].reasons, bullet["text"].strip())
        elif not drafts[-1].reasons:
            drafts[-1].reasons.append([text])
        elif blank and not line[0].isspace():
            ended = True  # a closing remark; nothing may follow it
        elif not ended:
            drafts[-1].plain &= not line[0].isspace()
            drafts[-1].reasons[-1].append(text)
        blank = False
    return _checked(drafts)


def _add_bullet(reasons: list[list[str]], text: str) -> None:
    if is_bare_span(text):
        # Probably a header with a bullet: as a reason, it would put the next step's reasons under this step.
        raise ParseError(ParseFault.BAD_STEP, f"In REASONS, the bullet '{text[:80]}' may be a step header.")
    if text:
        reasons.append([text])


def _checked(drafts: list[_Draft]) -> tuple[ReasoningStep, ...]:
    if not drafts:
        raise ParseError(ParseFault.TRUNCATED, "The reply ends in REASONS, before the first step.")
    for draft in drafts:
        if not draft.reasons:
            kind = ParseFault.TRUNCATED if draft is drafts[-1] else ParseFault.BAD_STEP
            raise ParseError(kind, f"The step from {draft.header.timestamp} has no reason.")
    return tuple(
        ReasoningStep(
            timestamp=draft.header.timestamp,
            start_s=draft.header.start_s,
            end_s=draft.header.end_s,
            reasons=draft.split(),
        )
        for draft in drafts
    )


def read_header(line: str) -> StepHeader | None:
    """Read a line as a step header.

    Args:
        line: One line of the REASONS section that is no bullet.

    Returns:
        The header, or ``None`` if the line is not one.

    Raises:
        ParseError: ``bad_step`` for a line that looks like a header but has no span, is ambiguous, uses a unit other
            than seconds, or ends before it starts.
    """
    plain, emphasised = _unmarked(line)
    hashed = line.lstrip().startswith("#")
    match, rest = _match(plain)
    if match is None or rest is None:
        if hashed or _SHAPED.match(plain):
            raise _bad(line, "is no header of the form '##### From [start to end]:'")
        return None
    # An unmarked "from 10 to 20" may be the end of the sentence above.
    if not (hashed or emphasised or rest["colon"] or _SHAPED.match(plain)):
        raise _bad(line, "may be a header or the rest of a reason")
    start_s, end_s = seconds(match["start"]), seconds(match["end"])
    if end_s < start_s:
        raise _bad(line, "ends before it starts")
    return StepHeader(_wording(match), start_s, end_s, (rest["text"] or "").strip())


def is_bare_span(text: str) -> bool:
    """Whether a text is a step header and nothing else."""
    _, rest = _match(_unmarked(text)[0])
    return rest is not None and not (rest["text"] or "").strip()


def seconds(time: str) -> float:
    """Seconds of ``10``, ``12.5``, ``10s``, ``01:05`` (minutes first) or ``00:01:05.250`` (hours first)."""
    total = 0.0
    for part in re.findall(r"[0-9.,]*[0-9]", time):
        total = total * 60 + float(part.replace(",", "."))
    return total


def without_emphasis(text: str) -> tuple[str, bool]:
    """Remove Markdown bold or italics at the start of a line; also returns whether there was any."""
    mark = _EMPHASIS.match(text)
    if mark is None:
        return text, False
    return text[mark.end() :].replace(mark[0], "", 1).strip(), True


def without_invisible(text: str) -> str:
    """Remove invisible characters, with the white space between them, from the start of a text."""
    leading = _LEADING.match(text)
    return text[leading.end() :] if leading else text


def _unmarked(line: str) -> tuple[str, bool]:
    """A line without hashes and emphasis, in either order; also returns whether it was emphasised."""
    plain, emphasised = without_emphasis(_unhashed(line))
    return (plain.lstrip("#").lstrip() if emphasised else plain), emphasised


def _unhashed(line: str) -> str:
    # Single spaces also keep the patterns above linear: no two of their parts can match the same run of spaces.
    return " ".join(line.strip().lstrip("#").split())


def _match(plain: str) -> tuple[re.Match[str] | None, re.Match[str] | None]:
    match = _HEADER.match(plain)
    if match is None:
        return None, None
    rest = _REST.fullmatch(match["rest"])
    if rest is None or _OTHER_UNIT.search(rest["notes"]):
        return match, None
    return match, rest


def _wording(match: re.Match[str]) -> str:
    start, end = match["start"], match["end"]
    if re.fullmatch(_NUMBER, start) and re.fullmatch(_NUMBER, end):
        return f"{start} to {end}"
    return re.sub(r"[\[\]()【】]", "", match["span"]).strip()


def _bad(line: str, what: str) -> ParseError:
    text = " ".join(line.split())
    return ParseError(ParseFault.BAD_STEP, f"In REASONS, the line '{text[:80]}' {what}.")
