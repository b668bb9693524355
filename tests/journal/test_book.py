"""The journal read from end to end: what it cost, and what stands under each key."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvqa_ray.errors import ApiError, Bill, MalformedReply, Refused
from lvqa_ray.journal.book import Book
from lvqa_ray.journal.costs import spent
from lvqa_ray.journal.entries import JournalEntry
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.journal.segments import LocalSegments
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.records import Usage
from tests.journal.paid import key_of

FIRST, SECOND = "20260101T000000000000Z", "20260102T000000000000Z"


def answer(text: str) -> ChatReply:
    return ChatReply(text=text, model="m", usage=Usage(calls=1, input_tokens=10, output_tokens=2, cost_usd=0.5))


def paid(error: ApiError) -> ApiError:
    error.bill = Bill(3, 1, None)
    return error


def said(entry: JournalEntry | None) -> str:
    if entry is None:
        return "-"
    return entry.reply.text if isinstance(entry.reply, ChatReply) else f"{entry.unusable}: {entry.reply}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs, of which the later one begins with a torn line."""
    one, two = (JournalReplyStore(tmp_path, writer=f"{run}_w", stage="ask") for run in (FIRST, SECOND))
    one.put(key_of(1), answer("first"))
    one.put(key_of(2), paid(Refused("no")), "m")
    one.put(key_of(3), paid(Refused("never")), "m")
    one.put(key_of(4), answer("an answer goes before a failure"))
    one.put(key_of(5), paid(MalformedReply("empty")), "other")
    one.close()
    with (tmp_path / f"ask-{SECOND}_w.jsonl").open("wb") as file:
        file.write(b"{torn\n")
    two.put(key_of(1), answer("second"))
    two.put(key_of(2), answer("mended"))
    two.put(key_of(4), paid(Refused("later")), "m")
    two.close()
    JournalReplyStore(tmp_path, writer=f"{SECOND}_v", stage="caption").put(key_of(6), answer("a street"))
    return tmp_path


def test_the_last_answer_stands_and_a_failure_where_there_is_none(folder: Path) -> None:
    book = Book(LocalSegments(folder))
    assert [said(book.find(key_of(n))) for n in range(1, 8)] == [
        "second",
        "mended",
        "refused: never",
        "an answer goes before a failure",
        "malformed_reply: None",
        "a street",
        "-",
    ]


def test_costs_by_stage_and_model(folder: Path) -> None:
    book = Book(LocalSegments(folder))
    assert {stage: sorted(models) for stage, models in book.spent.items()} == {"ask": ["m", "other"], "caption": ["m"]}
    ask = book.spent["ask"]["m"]
    assert (ask.calls, ask.unusable, ask.input_tokens, ask.output_tokens, ask.cost_usd) == (7, 3, 49, 11, 2.0)
    assert list(book.paces["ask"].tokens) == [12, 4, 4, 12, 4, 12, 12, 4]
    of_run = spent(LocalSegments(folder), SECOND)
    assert (of_run["ask"]["m"].calls, of_run["caption"]["m"].calls) == (3, 1)


def test_a_journal_that_is_missing_is_empty(tmp_path: Path) -> None:
    nothing = LocalSegments(tmp_path / "none", make=False)
    assert (Book(nothing).spent, Book(nothing).find(key_of(1)), spent(nothing, FIRST)) == ({}, None, {})
