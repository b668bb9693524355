"""Fault injection for the checks: fake writers that spoil questions in one way each, at a known rate.

A hash of the video and the question's number decides whether a question is spoiled, so the same request always gets
the same reply, and a test knows how many questions were spoiled.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

import numpy as np
import simplejpeg

from lvqa_ray.qa.formats.multi_question import parse_questions
from lvqa_ray.qa.formats.text_format import render_question
from lvqa_ray.records import LETTERS, Question
from tests.fakes import answers

_FILM = re.compile(r"^From \d+ to \d+, .+$", re.MULTILINE)


class Habit(StrEnum):
    """Kind of fault that a writer makes."""

    SPANS_OUTSIDE = "spans_outside"
    ALWAYS_B = "always_b"
    REPEATS = "repeats"
    FORGETS_AN_OPTION = "forgets_an_option"
    GIVES_IT_AWAY = "gives_it_away"
    MENTIONS_CAPTIONS = "mentions_captions"
    NAMES_TIMES = "names_times"
    ALL_OF_THE_ABOVE = "all_of_the_above"
    LONG_KEY = "long_key"


class Writer:
    """Fake writer for `FakeEndpoint.answer`: the usual replies, with some questions spoiled.

    Args:
        habits: Rate of each habit; at most one applies to a question.

    Attributes:
        spoiled: The habit of each spoiled question, by the first words of the captions and the question's number.
    """

    def __init__(self, habits: Mapping[Habit, float]) -> None:
        self.habits = dict(habits)
        self.spoiled: dict[tuple[str, int], Habit] = {}

    def __call__(self, body: dict[str, Any]) -> str | None:
        """Reply to a request for several questions; ``None`` (the usual reply) for any other."""
        text = answers.text_of(body)
        if "hard multiple-choice questions" not in text or answers.media_urls(body):
            return None
        film = "\n".join(dict.fromkeys(_FILM.findall(text)))
        blocks: list[str] = []
        before: Question | None = None
        for number, reading in enumerate(parse_questions(answers.answer(body))):
            assert isinstance(reading.question, Question)
            habit = self._habit(film, number)
            if habit is Habit.REPEATS and before is None:
                habit = None
            if habit is not None:
                self.spoiled[film[:200], number] = habit
            spoiled = spoil(reading.question, habit, before)
            # A dropped question cannot be repeated.
            before = reading.question if habit is None else None
            blocks.append(f"CATEGORY: {reading.category}\n{spoiled}")
        return "\n\n".join(blocks)

    def _habit(self, film: str, number: int) -> Habit | None:
        chance = int.from_bytes(hashlib.sha256(f"{film} {number}".encode()).digest()[:6], "big") / 2**48
        for habit, rate in self.habits.items():
            if chance < rate:
                return habit
            chance -= rate
        return None


def spoil(q: Question, habit: Habit | None, before: Question | None = None) -> str:  # noqa: PLR0911 - one each
    """Apply a habit to a question, and write it in the text format."""
    key = q.options[q.answer]
    match habit:
        case Habit.SPANS_OUTSIDE:
            late = replace(q.steps[-1], timestamp="9000 to 9010", start_s=9000.0, end_s=9010.0)
            return render_question(replace(q, steps=(*q.steps[:-1], late)))
        case Habit.ALWAYS_B:
            options = q.options | {q.answer: q.options["B"], "B": key}
            reasons = tuple(f"{key} is seen here, so the answer is B" for _ in q.steps)
            steps = tuple(replace(step, reasons=(reason,)) for step, reason in zip(q.steps, reasons, strict=True))
            return render_question(replace(q, options=options, answer="B", steps=steps))
        case Habit.REPEATS if before is not None:
            return render_question(replace(before, question=f"{before.question[:-1]}, then?"))
        case Habit.FORGETS_AN_OPTION:
            last = next(letter for letter in reversed(LETTERS) if letter != q.answer)
            return re.sub(rf"^{last}\. .*\n", "", render_question(q), flags=re.MULTILINE)
        case Habit.GIVES_IT_AWAY:
            return render_question(replace(q, question=f"Given that {key}, {q.question[0].lower()}{q.question[1:]}"))
        case Habit.MENTIONS_CAPTIONS:
            stem = f"According to the captions, {q.question[0].lower()}{q.question[1:]}"
            return render_question(replace(q, question=stem))
        case Habit.NAMES_TIMES:
            return render_question(
                replace(q, question=f"From 10 to 20 seconds, {q.question[0].lower()}{q.question[1:]}")
            )
        case Habit.ALL_OF_THE_ABOVE:
            last = next(letter for letter in reversed(LETTERS) if letter != q.answer)
            return render_question(replace(q, options=q.options | {last: "All of the above"}))
        case Habit.LONG_KEY:
            long = f"{key}, which can be told from all that comes before it and from all that follows it in the film"
            return render_question(replace(q, options=q.options | {q.answer: f"{long}, as every viewer will agree"}))
        case _:
            return render_question(q)


class Solver:
    """Fake solver with given answers; it picks the same letter for all other questions.

    Args:
        blind: Option by stem, for prompts without captions.
        seeing: Option by stem, for prompts with captions.
        letter: Letter for all other questions.
    """

    def __init__(self, blind: Mapping[str, str], seeing: Mapping[str, str], letter: str = "A") -> None:
        self.blind, self.seeing, self.letter = dict(blind), dict(seeing), letter

    def __call__(self, body: dict[str, Any]) -> str | None:
        """Reply to a question; ``None`` for any other request."""
        text = answers.text_of(body)
        if 'the line "ANSWER: "' not in text:
            return None
        known = self.seeing if _FILM.search(text) else self.blind
        for stem, pick in known.items():
            if f"\n{stem}\n" in text:
                letter = re.search(rf"^([A-D])\. {re.escape(pick)}$", text, re.MULTILINE)
                return f"Let me see. B. comes to mind.\n\n**ANSWER:** {letter[1] if letter else '?'}"
        return f"ANSWER: {self.letter}"


class Witness:
    """Fake vision judge: scores a claim by the share of images that have the claimed colour in their corner.

    A claim says ``the colour (r, g, b)``; any other request gets the usual answer.
    """

    def __call__(self, body: dict[str, Any]) -> str | None:
        """Reply to a claim; ``None`` for any other request."""
        claim = re.search(r"the colour \((\d+), (\d+), (\d+)\)", answers.text_of(body))
        pictures = answers.media_urls(body)
        if claim is None or not pictures:
            return None
        wanted = np.array([int(channel) for channel in claim.groups()])
        corners = [simplejpeg.decode_jpeg(base64.b64decode(url.partition(",")[2]))[2, 2] for url in pictures]
        seen = [bool(np.abs(corner.astype(int) - wanted).max() < 30) for corner in corners]
        return f"So many have it.\n\n**SCORE:** {sum(seen) / len(seen):.2f}"
