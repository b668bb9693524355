"""Upkeep of a journal: what can be read stays, and answers the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvqa_ray.errors import ApiError, Bill, MalformedReply, Refused
from lvqa_ray.journal.costs import total
from lvqa_ray.journal.maintenance import clear, compact, stats
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.records import Usage
from tests.journal.paid import key_of


def answer(text: str) -> ChatReply:
    return ChatReply(text=text, model="m", usage=Usage(calls=1, input_tokens=10, output_tokens=2, cost_usd=0.5))


def paid(error: ApiError) -> ApiError:
    error.bill = Bill(3, 1, 0.25)
    return error


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Two writers: an answer given twice, a refusal that was mended and one that was not, no text, a torn line."""
    one, two = (JournalReplyStore(tmp_path, writer=name, stage="ask") for name in ("a", "b"))
    one.put(key_of(1), answer("first"))
    one.put(key_of(2), paid(Refused("no")), "m")
    one.put(key_of(3), paid(Refused("never")), "m")
    one.put(key_of(4), paid(MalformedReply("empty")), "m")
    two.put(key_of(1), answer("second"))
    two.put(key_of(2), answer("mended"))
    JournalReplyStore(tmp_path, writer="a", stage="caption").put(key_of(5), answer("a street"))
    with (tmp_path / "ask-b.jsonl").open("ab") as file:
        file.write(b"{torn")
    return tmp_path


def answers(folder: Path, stage: str) -> dict[int, str]:
    journal = JournalReplyStore(folder, writer="x", stage=stage)
    found = {n: journal.get(key_of(n)) for n in range(1, 6)}
    return {n: reply.text if isinstance(reply, ChatReply) else str(reply) for n, reply in found.items() if reply}


def test_stats_count_answers_bytes_and_money(journal: Path) -> None:
    counted = stats(journal)
    assert (counted.segments, counted.answers, counted.corrupt_lines) == (3, 4, 1)
    assert counted.bytes == sum(path.stat().st_size for path in journal.iterdir())
    ask = counted.spent["ask"]["m"]
    assert (ask.calls, ask.unusable, ask.input_tokens, ask.output_tokens, ask.cost_usd) == (6, 3, 39, 9, 2.25)
    assert total(counted.spent["caption"].values()).calls == 1


def test_compacting_changes_no_answer(journal: Path) -> None:
    before = answers(journal, "ask"), answers(journal, "caption")
    assert before == ({1: "second", 2: "mended", 3: "never"}, {5: "a street"})
    held, holds = compact(journal)
    assert (held.answers, holds.answers, holds.segments, holds.corrupt_lines) == (4, 4, 2, 0)
    assert holds.bytes < held.bytes
    assert (answers(journal, "ask"), answers(journal, "caption")) == before
    assert sum(path.read_bytes().count(b"\n") for path in journal.iterdir()) == 5
    again, after = compact(journal)
    assert (again.bytes, again.spent) == (after.bytes, after.spent)


def test_a_kill_between_the_new_segment_and_the_old_ones_costs_nothing(journal: Path) -> None:
    old = {path.name: path.read_bytes() for path in journal.iterdir()}
    compact(journal)
    for name, content in old.items():
        (journal / name).write_bytes(content)
    (journal / ".ask-compact_x.jsonl.partial").write_bytes(b"half")
    assert answers(journal, "ask") == {1: "second", 2: "mended", 3: "never"}
    assert stats(journal).answers == 4


def test_clear_leaves_nothing(journal: Path) -> None:
    assert clear(journal) == 3
    assert stats(journal).answers == 0
    assert clear(journal) == 0
