"""Prompt echo: placeholders of the reply format that a model copies instead of filling them in.

Such a reply has the right form, with options such as ``<first option>``. Small models write it, and a checker that
guesses may let it pass, so it counts as unparsable.
"""

from __future__ import annotations

from collections.abc import Iterable

from lvqa_ray.errors import ParseError, ParseFault

PLACEHOLDERS = frozenset(
    {
        "the question",
        "first option",
        "second option",
        "third option",
        "fourth option",
        "a, b, c or d",
        "the name of its kind",
        "what is seen there",
        "what follows from it",
        "what is seen there and what follows from it",
        "start",
        "end",
        "the number, in digits",
        "0, or how far off a right answer may be",
        "what is counted or measured",
        "one to five words",
        "other form",
        "what an answer must say to be right",
        "...",
        "…",
    }
)
"""All that the formats of stage `ask` show for what the model has to write, in lower case."""
_ALSO_WORDS = frozenset({"start", "end"})
"""Placeholders that are plausible texts as well, so only those in angle brackets count, as the formats show them."""
_ELLIPSES = frozenset({"...", "…"})
_AROUND = "<>[](){}\"'`* \t\n"


def check_filled_in(question: str, options: Iterable[str], reasons: Iterable[str]) -> None:
    """Reject a question with a placeholder for a text.

    Args:
        question: The question.
        options: Texts of its options, or its answer and what belongs to it.
        reasons: Its reasons. An ellipsis between or after others is no fault.

    Raises:
        ParseError: A whole text is a placeholder, with or without brackets.
    """
    given = list(reasons)
    filled = [reason for reason in given if reason.strip() not in _ELLIPSES] or given
    for kind, texts in (
        (ParseFault.NO_QUESTION, [question]),
        (ParseFault.EMPTY_OPTION, options),
        (ParseFault.BAD_STEP, filled),
    ):
        for text in texts:
            if _is_placeholder(text):
                raise ParseError(kind, f"'{text}' is a placeholder of the format: write what belongs there instead.")


def _is_placeholder(text: str) -> bool:
    name = text.strip(_AROUND).casefold()
    return name in PLACEHOLDERS and (name not in _ALSO_WORDS or f"<{name}>" in text.casefold())
