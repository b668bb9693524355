"""Traces of sampled answers: the reasoning of each attempt, with its option letters mapped to those of the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.option_letters import Unclear, moved_letters
from lvqa_ray.qa.repeated_answers import Attempt
from lvqa_ray.records import LETTERS, AnyQuestion, Letter, Trace, TraceMedia


def traces_of(
    check: str, q: AnyQuestion, attempts: Sequence[Attempt], media: TraceMedia, times: Sequence[float] = ()
) -> tuple[Trace, ...]:
    """The traces of the attempts of a check.

    Args:
        check: Name of the check.
        q: The question.
        attempts: Its answers.
        media: What the model was given.
        times: Times of the frames that it was shown (s).
    """
    question = full_question(q)
    return tuple(_trace(check, question, one, media, tuple(times)) for one in attempts)


def _trace(check: str, question: str, one: Attempt, media: TraceMedia, times: tuple[float, ...]) -> Trace:
    to = dict(zip(LETTERS, one.order, strict=True)) if one.order else {}
    reply = one.reply
    trace = Trace(
        check=check,
        attempt=one.number,
        question=question,
        model=reply.model if reply else "",
        media=media,
        times=times,
        order="".join(one.order),
        thoughts=reply.thoughts if reply else "",
        text=reply.text if reply else "",
        answer=to[one.choice.letter] if one.choice.letter else one.text or None,
        read=one.choice.read,
        correct=None if one.right and not one.exact else one.right,
        error=one.error or ("" if reply is None or reply.text.strip() else "empty_reply"),
        usage=one.usage,
    )
    return with_letters_of_record(trace, to)


def with_letters_of_record(trace: Trace, to: Mapping[Letter, Letter]) -> Trace:
    """The trace with the option letters in its texts renamed, or marked if a letter may name an option or not.

    Args:
        trace: A trace with the letters of its prompt.
        to: The letter in the record of each letter in the prompt.
    """
    if all(old == new for old, new in to.items()):
        return trace
    try:
        thoughts, said = moved_letters(trace.thoughts, to), moved_letters(trace.rationale, to)
    except Unclear:
        return replace(trace, letters_unclear=True)
    answer = f"ANSWER: {trace.answer}" if trace.answer else ""  # its line is no running text
    return replace(trace, thoughts=thoughts, text="\n\n".join(part for part in (said, answer) if part))
