"""The REASONS section of a QA reply: step headers, and the reasons under each.

The asked-for header is ``##### From [0 to 10]:``. Models vary its level, brackets, dash and notation of times, and the
bullets; what has one reading only is taken, the rest is an error.
"""

# ruff: noqa: RUF001 -- full-width marks and other dashes are what some models write

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.records import Step

_NUMBER = r"[0-9]{1,6}(?:\.[0-9]{1,6})?"
_CLOCK = r"(?:[0-9]{1,3}:[0-5]?[0-9]|[0-9]{1,4}):[0-5][0-9](?:[.,][0-9]{1,6})?"
_UNIT = r"\s?(?:s|secs?|seconds?)\b\.?"
# What follows may not go on as a number or a clock: "0 to 1:75" must not be read as "0 to 1" with a text "75".
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
# Lines that are meant as a header, whether or not they can be read as one.
_SHAPED = re.compile(r"(?:Step|STEP)\s*[0-9]|(?:From|FROM)\s*[\[(【]?\s*[0-9]|[\[【]\s*[0-9]")
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3})(?=[^\s*_])")
_BULLET = re.compile(
    r"(?:[-*•‣◦–—+·●▪](?=\s|$)|[•‣◦●▪]|-(?=[^\W\d_])|\(?[0-9]{1,3}[.)、](?=\s|$))(?P<text>.*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class StepHeader:
    """A step header that was read.

    Attributes:
        timestamp: The span as text: ``0 to 10`` where both times are bare numbers, else as the model wrote it.
        start_s: Start in seconds.
        end_s: End in seconds, never before the start.
        text: What stands behind the header's colon on the same line.
    """

    timestamp: str
    start_s: float
    end_s: float
    text: str


@dataclass(slots=True)
class _Draft:
    """A step while its reasons come in; a reason is the list of its lines."""

    header: StepHeader
    reasons: list[list[str]] = field(default_factory=list)


def read_steps(lines: Iterable[str]) -> tuple[Step, ...]:
    """Read the lines of a REASONS section.

    A bullet is a reason; a line that is neither bullet nor header goes on with the reason above it, or is the first
    reason of its step. A closing remark, set off by an empty line at the very end, is left out.

    Raises:
        ParseError: ``truncated`` where there is no step, or the last one has no reason; ``bad_step`` for a line that
            is in no step, a header that cannot be read, and a step without reasons before the last.
    """
    drafts: list[_Draft] = []
    blank = ended = False
    for line in lines:
        text = line.strip()
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
            _add_bullet(drafts[-1].reasons, bullet["text"].strip())
        elif not drafts[-1].reasons:
            drafts[-1].reasons.append([text])
        elif blank and not line[0].isspace():
            ended = True  # a closing remark, which belongs to no step; it may only be the last thing
        elif not ended:
            drafts[-1].reasons[-1].append(text)
        blank = False
    return _checked(drafts)


def _add_bullet(reasons: list[list[str]], text: str) -> None:
    if is_bare_span(text):
        # A header in bullet's clothes: read as a reason, it would put the next step's reasons under this one.
        raise ParseError(ParseFault.BAD_STEP, f"In REASONS, the bullet '{text[:80]}' may be a step header.")
    if text:
        reasons.append([text])


def _checked(drafts: list[_Draft]) -> tuple[Step, ...]:
    if not drafts:
        raise ParseError(ParseFault.TRUNCATED, "The reply ends in REASONS, before the first step.")
    for draft in drafts:
        if not draft.reasons:
            kind = ParseFault.TRUNCATED if draft is drafts[-1] else ParseFault.BAD_STEP
            raise ParseError(kind, f"The step from {draft.header.timestamp} has no reason.")
    return tuple(
        Step(
            timestamp=draft.header.timestamp,
            start_s=draft.header.start_s,
            end_s=draft.header.end_s,
            reasons=tuple(" ".join(parts) for parts in draft.reasons),
        )
        for draft in drafts
    )


def read_header(line: str) -> StepHeader | None:
    """Read a line as a step header.

    Args:
        line: One line of the REASONS section that is no bullet.

    Returns:
        The header, or ``None`` for a line that is none.

    Raises:
        ParseError: ``bad_step`` for a line that is meant as a header but has no span, more than one reading, a unit
            other than seconds, or an end before its start.
    """
    plain, emphasised = without_emphasis(_unhashed(line))
    hashed = line.lstrip().startswith("#")
    match, rest = _match(plain)
    if match is None or rest is None:
        if hashed or _SHAPED.match(plain):
            raise _bad(line, "is no header of the form '##### From [start to end]:'")
        return None
    # Without a mark of its own, "from 10 to 20" may as well be the end of the sentence above.
    if not (hashed or emphasised or rest["colon"] or _SHAPED.match(plain)):
        raise _bad(line, "may be a header or the rest of a reason")
    start_s, end_s = seconds(match["start"]), seconds(match["end"])
    if end_s < start_s:
        raise _bad(line, "ends before it starts")
    return StepHeader(_wording(match), start_s, end_s, (rest["text"] or "").strip())


def is_bare_span(text: str) -> bool:
    """Whether a text is a step header and nothing else."""
    _, rest = _match(without_emphasis(_unhashed(text))[0])
    return rest is not None and not (rest["text"] or "").strip()


def seconds(time: str) -> float:
    """Seconds of ``10``, ``12.5``, ``10s``, ``01:05`` (minutes first) or ``00:01:05.250`` (hours first)."""
    total = 0.0
    for part in re.findall(r"[0-9.,]*[0-9]", time):
        total = total * 60 + float(part.replace(",", "."))
    return total


def without_emphasis(text: str) -> tuple[str, bool]:
    """Take Markdown's bold or italics off the start of a line, with its closing mark; and whether there was one."""
    mark = _EMPHASIS.match(text)
    if mark is None:
        return text, False
    return text[mark.end() :].replace(mark[0], "", 1).strip(), True


def _unhashed(line: str) -> str:
    # Folded white space also keeps the patterns above linear: no two of their parts can share a run of it.
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
