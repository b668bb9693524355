"""Answers are written down, and found again whatever happened to whoever wrote them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lvqa_ray.errors import TruncatedReply
from lvqa_ray.journal.entries import entry_of
from lvqa_ray.journal.reply_store import JournalReplyStore, ReadOnlyReplyStore
from lvqa_ray.journal.segments import segments_of
from lvqa_ray.llm.messages import ChatReply
from tests.journal.paid import REPLY, key_of


def answered(journal: JournalReplyStore) -> set[int]:
    """Which of the first requests have an answer."""
    return {n for n in range(5) if journal.get(key_of(n)) is not None}


def test_answers_come_back_as_they_were_paid(tmp_path: Path) -> None:
    journal = JournalReplyStore(tmp_path / "new" / "cache", writer="w1", stage="caption")
    unpriced = replace(REPLY, usage=replace(REPLY.usage, cost_usd=None))
    journal.put(key_of(1), REPLY)
    journal.put(key_of(2), unpriced)
    again = JournalReplyStore(tmp_path / "new" / "cache", writer="w2", stage="caption")
    for one in (journal, again):
        assert one.get(key_of(1)) == REPLY
        assert one.get(key_of(2)) == unpriced
        assert one.get(key_of(3)) is None
        assert len(one.index()) == 2
    assert (tmp_path / "new" / "cache" / "caption-w1.jsonl").read_bytes().count(b"\n") == 2


class TestKeysWithTheSameBeginning:
    """Two keys that share the eight bytes of the index: neither reply is lost, and none is paid again."""

    ONE, TWO, THREE = (key_of(0)[:16] + key_of(n)[16:] for n in range(3))

    @pytest.mark.parametrize("first", [0, 1])
    @pytest.mark.parametrize("reopened", [False, True])
    def test_both_are_found(self, tmp_path: Path, first: int, *, reopened: bool) -> None:
        keys, texts = [self.ONE, self.TWO], ["one", "two"]
        journal = JournalReplyStore(tmp_path, writer="w1", stage="ask")
        journal.put(keys[0], replace(REPLY, text=texts[0]))
        journal.put(keys[1], replace(REPLY, text=texts[1]))
        if reopened:
            journal = JournalReplyStore(tmp_path, writer="w2", stage="ask")
        for n in [first, 1 - first, first, 1 - first]:
            assert asyncio.run(journal.find(keys[n])) == replace(REPLY, text=texts[n])
            assert journal.get(self.THREE) is None
        journal.put(self.THREE, replace(REPLY, text="three"))
        assert journal.get(self.THREE) == replace(REPLY, text="three")
        reader = ReadOnlyReplyStore(segments_of(tmp_path), journal.index())
        assert asyncio.run(reader.find(keys[first])) == replace(REPLY, text=texts[first])

    @pytest.mark.parametrize("failure_first", [False, True])
    def test_a_kept_failure_and_an_answer(self, tmp_path: Path, *, failure_first: bool) -> None:
        failure = TruncatedReply("It is cut off.")
        failure.raw, failure.bill = "x", REPLY.usage.bill
        journal = JournalReplyStore(tmp_path, writer="w1", stage="ask")
        for is_failure in (failure_first, not failure_first):
            if is_failure:
                journal.put(self.TWO, failure, "m")
            else:
                journal.put(self.ONE, REPLY)
        for store in (journal, JournalReplyStore(tmp_path, writer="w2", stage="ask")):
            assert isinstance(store.get(self.TWO), TruncatedReply)
            assert store.get(self.ONE) == REPLY
            assert isinstance(store.get(self.TWO), TruncatedReply)

    def test_the_line_of_another_writer_is_found(self, tmp_path: Path) -> None:
        journal, other = (JournalReplyStore(tmp_path, writer=name, stage="ask") for name in ("w1", "w2"))
        journal.put(self.ONE, REPLY)
        assert journal.get(self.TWO) is None
        other.put(self.TWO, replace(REPLY, text="two"))
        assert journal.get(self.TWO) == replace(REPLY, text="two")
        assert journal.get(self.ONE) == REPLY


def test_stages_are_apart(tmp_path: Path) -> None:
    JournalReplyStore(tmp_path, writer="w", stage="ask").put(key_of(1), REPLY)
    assert not len(JournalReplyStore(tmp_path, writer="w", stage="asks").index())
    with pytest.raises(ValueError, match="named by"):
        JournalReplyStore(tmp_path, writer="w", stage="ask-more")
    with pytest.raises(ValueError, match="named by"):
        JournalReplyStore(tmp_path, writer="../w", stage="ask")


def test_answers_of_other_writers_are_found_while_they_write(tmp_path: Path) -> None:
    one, two = (JournalReplyStore(tmp_path, writer=name, stage="ask") for name in ("one", "two"))
    for n in range(6):
        (one, two)[n % 2].put(key_of(n), replace(REPLY, text=f"answer {n}"))
    for journal in (one, two):
        replies = [journal.get(key_of(n)) for n in range(6)]
        assert [reply.text for reply in replies if isinstance(reply, ChatReply)] == [f"answer {n}" for n in range(6)]


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_torn_tail_costs_one_answer_and_no_other(tmp_path: Path, cut: int) -> None:
    journal = JournalReplyStore(tmp_path, writer="w", stage="ask")
    for n in range(3):
        journal.put(key_of(n), replace(REPLY, text="long " * 60))
    segment = tmp_path / "ask-w.jsonl"
    segment.write_bytes(segment.read_bytes()[:-cut])
    again = JournalReplyStore(tmp_path, writer="w", stage="ask")
    assert answered(again) == {0, 1}
    again.put(key_of(3), REPLY)  # must not become a part of the torn line
    third = JournalReplyStore(tmp_path, writer="x", stage="ask")
    torn_line_is_whole = cut == 1  # only the line's end was missing
    assert answered(third) == {0, 1, 3} | ({2} if torn_line_is_whole else set())
    assert third.corrupt_lines == (0 if torn_line_is_whole else 1)
    assert third.get(key_of(3)) == REPLY


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\x00\x00",
        b"not json",
        b"[]",
        b'{"key": "zz"}',
        b'{"key":"00","text":"x","model":"m","input_tokens":1,"output_tokens":1,"cost_usd":null}',
        b'{"key":"' + b"0" * 64 + b'","text":"","model":"m","input_tokens":1,"output_tokens":1,"cost_usd":null}',
        b'{"key":"' + b"0" * 64 + b'","text":null,"model":"m","input_tokens":1,"output_tokens":1,"cost_usd":null}',
        b"\xff\xfe",
    ],
)
def test_a_line_that_cannot_be_read_is_skipped_and_counted(tmp_path: Path, line: bytes) -> None:
    journal = JournalReplyStore(tmp_path, writer="w", stage="ask")
    journal.put(key_of(1), REPLY)
    with (tmp_path / "ask-w.jsonl").open("ab") as file:
        file.write(line + b"\n")
    journal.put(key_of(2), REPLY)
    again = JournalReplyStore(tmp_path, writer="w", stage="ask")
    assert answered(again) == {1, 2}
    assert again.get(key_of(2)) == REPLY
    assert again.corrupt_lines == 1
    assert journal.get(key_of(2)) == REPLY


def test_an_answer_outlives_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from lvqa_ray.journal.reply_store import JournalReplyStore;"
        "from lvqa_ray.llm.messages import ChatReply; from lvqa_ray.records import Usage;"
        "JournalReplyStore(Path(sys.argv[1]), writer='w', stage='ask')"
        ".put('0' * 64, ChatReply(text='x', model='m', usage=Usage()))"
        ";"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert JournalReplyStore(tmp_path, writer="w", stage="ask").get("0" * 64) is not None


def test_a_segment_that_is_gone_is_a_miss(tmp_path: Path) -> None:
    journal = JournalReplyStore(tmp_path, writer="w", stage="ask")
    journal.put(key_of(1), REPLY)
    (tmp_path / "ask-w.jsonl").unlink()
    assert journal.get(key_of(1)) is None


def test_an_answer_that_cannot_be_read_now_is_not_taken_for_a_miss(tmp_path: Path) -> None:
    journal = JournalReplyStore(tmp_path, writer="w", stage="ask")
    journal.put(key_of(1), REPLY)
    (tmp_path / "ask-w.jsonl").rename(tmp_path / "kept")
    (tmp_path / "ask-w.jsonl").mkdir()
    with pytest.raises(OSError, match="directory"):
        journal.get(key_of(1))
    (tmp_path / "ask-w.jsonl").rmdir()
    (tmp_path / "kept").rename(tmp_path / "ask-w.jsonl")
    assert journal.get(key_of(1)) == REPLY


def test_the_counts_that_an_endpoint_reports_are_kept_and_no_others(tmp_path: Path) -> None:
    told = replace(REPLY, usage=replace(REPLY.usage, cached_tokens=4, reasoning_tokens=0))
    cut = TruncatedReply("cut off")
    cut.raw, cut.bill = "half", told.usage.bill
    journal = JournalReplyStore(tmp_path, writer="w", stage="ask")
    journal.put(key_of(1), told)
    journal.put(key_of(2), cut, "m")
    first, second = map(entry_of, (tmp_path / "ask-w.jsonl").read_bytes().splitlines())
    assert first is not None
    assert second is not None
    assert first.reply == told
    assert first.usage == second.usage == told.usage
    assert "cache_write_tokens" not in (tmp_path / "ask-w.jsonl").read_text()


def test_a_line_is_plain_json(tmp_path: Path) -> None:
    begun = time.time()
    JournalReplyStore(tmp_path, writer="w", stage="ask").put(key_of(1), replace(REPLY, seconds=1.5))
    said = json.loads((tmp_path / "ask-w.jsonl").read_text())
    assert begun - 1 <= said.pop("at") <= time.time() + 1
    assert said == {
        "key": key_of(1), "text": REPLY.text, "model": "m", "input_tokens": 5, "output_tokens": 7, "cost_usd": 0.25,
        "s": 1.5,
    }  # fmt: skip
    line = (tmp_path / "ask-w.jsonl").read_bytes()
    older = json.dumps({key: value for key, value in json.loads(line).items() if key not in {"at", "s"}}).encode()
    assert [(entry.reply, entry.seconds) for entry in map(entry_of, (line, older)) if entry] == [
        (REPLY, 1.5),
        (REPLY, 0.0),
    ]
