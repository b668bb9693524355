"""Best reply among several attempts at one request for questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.qa.formats.multi_question import ParsedQuestions
from lvqa_ray.records import Usage

Reader = Callable[[str], Sequence[ParsedQuestions]]


@dataclass(slots=True)
class BestReply:
    """The best parsed reply so far, and the error of the last one.

    Attributes:
        count: Number of requested questions.
        readings: Parsed questions of the reply with the most usable ones.
        kind: Error kind of the last reply.
        problem: The error in one sentence.
        raw: Text of the last faulty reply.
        usage: Total usage of all replies.
        calls: Number of calls.
    """

    count: int
    readings: list[ParsedQuestions] = field(default_factory=list)
    kind: str = ParseFault.NO_QUESTION
    problem: str = ""
    raw: str = ""
    usage: Usage = field(default_factory=Usage)
    calls: int = 0

    @property
    def some(self) -> bool:
        """Whether any question is usable."""
        return _usable(self.readings) > 0

    def take(self, reply: str, read: Reader) -> ParseError | None:
        """Parse a reply and keep it if it has more usable questions; returns its error, if any."""
        try:
            readings = list(read(reply))[: self.count]
        except ParseError as error:
            self.wrong(error.kind, str(error), reply)
            return error
        if not self.readings or _usable(readings) > _usable(self.readings):
            self.readings = readings
        fault = next((reading.error for reading in readings if reading.error), None)
        if fault is None and len(readings) < self.count:
            fault = ParseError(ParseFault.NO_QUESTION, f"The reply holds {len(readings)} of {self.count} questions.")
        if fault is not None:
            self.wrong(fault.kind, str(fault), reply)
        return fault

    def wrong(self, kind: str, problem: str, raw: str) -> None:
        """Record the error of the last reply."""
        self.kind, self.problem, self.raw = kind, problem, raw

    def filled(self) -> list[ParsedQuestions]:
        """One entry per requested question; missing questions get empty entries."""
        missing = self.count - len(self.readings)
        return [*self.readings, *[ParsedQuestions("", "" if self.readings else self.raw)] * missing]


def _usable(readings: Sequence[ParsedQuestions]) -> int:
    return sum(reading.question is not None for reading in readings)
