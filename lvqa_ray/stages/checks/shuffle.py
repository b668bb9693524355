"""Option shuffling: a seeded random order of the options, drawn from each question's id."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.qa.formats.text_format import render_question
from lvqa_ray.qa.option_letters import moved_letters
from lvqa_ray.records import LETTERS, AskedQuestion, KeyedQuestion, Letter, Question, QuestionedVideo, Verdict
from lvqa_ray.stage import Check


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ShuffleOptions(Check):
    """Shuffle the options and rename the letters in the reasoning (permuted block randomization).

    The position of the key depends only on the ids, so it is the same in every run, whatever is added to the corpus.
    The questions of one video take the four positions in turn; with one question per video, four consecutively numbered
    videos do. So over a corpus each position has the key equally often. For single questions of videos without a number
    in their names, the position is random: of 10,000 questions, each position has 25 % +- 1 % in 92 of 100 corpora, of
    20,000 in 99.6. Without knowing the other ids nothing better is possible.

    A question with ambiguous letters stays unshuffled: its verdict says so, or it is dropped.
    """

    name: ClassVar[str] = "shuffle"

    policy: Literal["off", "mark", "drop"] = Field(
        default="mark",
        description="Action on a question with option letters that cannot be renamed with certainty: mark or "
        "drop. off shuffles no options.",
    )
    seed: int = Field(default=0, description="Seed of the random order.")

    def __call__(self, row: QuestionedVideo) -> list[QuestionedVideo]:
        """Shuffle the options of all questions of a video."""
        shuffled: list[AskedQuestion] = []
        verdicts: list[Verdict] = []
        video_id = row.film.video.id
        alone = len(row.questions) + len(row.drops) == 1
        for asked in row.questions:
            # The order of an only question is drawn from the video's id, which used to be the id of its record.
            drawn_from = video_id if alone and asked.id == f"{video_id}_q0" else asked.id
            try:
                shuffled.append(self.shuffled(asked, drawn_from, video_id))
                verdicts.append(self.passed())
            except ValueError as error:
                shuffled.append(asked)
                verdicts.append(self.failed(f"left in the order it was written in: {error}"))
        return [self.decided(replace(row, questions=tuple(shuffled)), verdicts)]

    def shuffled(self, asked: AskedQuestion, drawn_from: str, video_id: str) -> AskedQuestion:
        """Shuffle the options of one question.

        Args:
            asked: The question.
            drawn_from: The id that seeds the order.
            video_id: Id of its video.

        Raises:
            ValueError: A letter cannot be renamed with certainty (`Unclear`), or the result cannot be rendered.
        """
        question = asked.question
        if isinstance(question, KeyedQuestion):
            return asked  # the moments of an order are listed at random from the start
        to = self._places(drawn_from, video_id, question.answer)
        came_from = {new: old for old, new in to.items()}
        changed = Question(
            question=moved_letters(question.question, to, shown=True),
            options={letter: moved_letters(question.options[came_from[letter]], to, shown=True) for letter in LETTERS},
            answer=to[question.answer],
            steps=tuple(
                replace(step, reasons=tuple(moved_letters(reason, to) for reason in step.reasons))
                for step in question.steps
            ),
        )
        return replace(asked, question=changed, reasoning=render_question(changed))

    def _places(self, row_id: str, video_id: str, answer: Letter) -> Mapping[Letter, Letter]:
        """The new letter of each option."""
        number = row_id.removeprefix(f"{video_id}_q")
        block = video_id
        if row_id == video_id:
            stem = video_id.rstrip("0123456789")
            number = video_id[len(stem) :][-18:]
            block = f"{stem}\0{int(number or 0) // 4}"
        key = self._draw("key", block, LETTERS)[int(number) % 4 if number.isdecimal() else 0]
        others = self._draw("others", row_id, [letter for letter in LETTERS if letter != key])
        return {answer: key} | dict(zip((letter for letter in LETTERS if letter != answer), others, strict=True))

    def _draw(self, what: str, name: str, letters: Sequence[Letter]) -> list[Letter]:
        digest = hashlib.sha256(f"{self.seed}\0{what}\0{name}".encode(errors="replace")).digest()
        return random.Random(digest).sample(letters, len(letters))  # noqa: S311 - a reproducible order
