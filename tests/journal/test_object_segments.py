"""A journal on a store of whole objects: what was told to be written is there, whatever happens then."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterable

import pytest

from lvqa_ray.journal.maintenance import compact, stats
from lvqa_ray.journal.object_segments import ObjectStoreSegments
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.records import Usage
from tests.journal.paid import key_of


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.writes = 0
        self.listings = 0
        self.listing = threading.Event()
        self.listed = threading.Event()
        self.listed.set()
        self.refused = 0
        self.often = threading.Event()
        self.full = False
        self.fault = errno.EIO
        self.open = threading.Event()
        self.open.set()

    def sizes(self) -> dict[str, int]:
        self.listings += 1
        self.listing.set()
        self.listed.wait(20)
        return {name: len(data) for name, data in self.objects.items()}

    def read(self, name: str, start: int, end: int) -> bytes:
        return self.objects[name][start:end]

    def write(self, name: str, data: bytes) -> None:
        self.open.wait()
        if self.full:
            self.refused += 1
            if self.refused > 10:
                self.often.set()
            raise OSError(self.fault, "may not be written")
        assert data.startswith(self.objects.get(name, b"")), "what a reader knows has changed"
        self.writes += 1
        self.objects[name] = data

    def write_all(self, name: str, parts: Iterable[bytes]) -> None:
        self.objects[name] = b"".join(parts)

    def delete(self, name: str) -> None:
        del self.objects[name]


def answer(n: int) -> ChatReply:
    return ChatReply(text=f"answer {n} {'x' * 40}", model="m", usage=Usage(calls=1, input_tokens=n, output_tokens=1))


def text(journal: JournalReplyStore, n: int) -> str:
    reply = journal.get(key_of(n))
    return reply.text if isinstance(reply, ChatReply) else ""


def segments(shelf: Shelf, patience_s: float = 60.0) -> ObjectStoreSegments:
    return ObjectStoreSegments(shelf, every_s=0.01, roll_bytes=1000, patience_s=patience_s)


def test_answers_that_were_told_to_be_kept_are_on_the_store() -> None:
    shelf = Shelf()

    async def put(journal: JournalReplyStore, n: int) -> None:
        journal.put(key_of(n), answer(n))
        await journal.kept()
        other = JournalReplyStore(segments(shelf), writer="other", stage="ask")
        assert text(other, n) == answer(n).text

    async def run() -> None:
        journal = JournalReplyStore(segments(shelf), writer="one", stage="ask")
        await asyncio.gather(*(put(journal, n) for n in range(40)))
        assert all(text(journal, n) == answer(n).text for n in range(40))

    asyncio.run(run())
    assert len(shelf.objects) > 3
    assert shelf.writes < 40, "answers of the same moment go out together"
    assert all(data.endswith(b"\n") and len(data) <= 1000 for data in shelf.objects.values())
    assert stats(segments(shelf)).answers == 40
    before, after = compact(segments(shelf))
    assert (before.answers, after.answers, after.segments) == (40, 40, 1)
    again = JournalReplyStore(segments(shelf), writer="two", stage="ask")
    assert [text(again, n) for n in range(40)] == [answer(n).text for n in range(40)]


def test_one_who_gives_up_waiting_takes_nobody_else_along() -> None:
    shelf = Shelf()
    shelf.open.clear()

    async def run() -> None:
        journal = JournalReplyStore(segments(shelf), writer="one", stage="ask")
        journal.put(key_of(1), answer(1))
        waiting = [asyncio.create_task(journal.kept()) for _ in range(2)]
        await asyncio.sleep(0.02)
        waiting[0].cancel()
        shelf.open.set()
        await waiting[1]
        assert waiting[0].cancelled()

    asyncio.run(run())
    assert stats(segments(shelf)).answers == 1


def test_a_store_that_takes_no_more_is_said_to_all_who_wait() -> None:
    shelf = Shelf()
    shelf.full = True

    async def run() -> None:
        journal = JournalReplyStore(segments(shelf, patience_s=0), writer="one", stage="ask")
        journal.put(key_of(1), answer(1))
        with pytest.raises(OSError, match="may not be written"):
            await journal.kept()
        assert journal.broken is not None
        with pytest.raises(OSError, match="may not be written"):
            journal.put(key_of(2), answer(2))

    asyncio.run(run())


@pytest.mark.parametrize("fault", [errno.EACCES, errno.ENOENT])
def test_a_store_that_refuses_for_good_is_said_at_once(fault: int) -> None:
    shelf = Shelf()
    shelf.full, shelf.fault = True, fault

    async def run() -> None:
        journal = JournalReplyStore(segments(shelf, patience_s=60.0), writer="one", stage="ask")
        journal.put(key_of(1), answer(1))
        with pytest.raises(OSError, match="may not be written"):
            await asyncio.wait_for(journal.kept(), 30)
        assert shelf.refused == 1

    asyncio.run(run())


def test_a_slow_look_holds_up_no_event_loop_and_misses_nothing() -> None:
    shelf = Shelf()

    async def run() -> None:
        journal = JournalReplyStore(ObjectStoreSegments(shelf, every_s=0.01, listed_s=0.0), writer="one", stage="ask")
        shelf.listing.clear()
        shelf.listed.clear()
        looking = [asyncio.create_task(journal.find(key_of(n))) for n in (1, 2)]
        assert await asyncio.to_thread(shelf.listing.wait, 20)
        journal.put(key_of(1), answer(1))  # by another caller, while the store takes its time
        assert not any(task.done() for task in looking)
        shelf.listed.set()
        found = await asyncio.gather(*looking)
        assert [reply.text if isinstance(reply, ChatReply) else None for reply in found] == [answer(1).text, None]

    asyncio.run(run())


def test_closing_waits_for_a_store_that_takes_nothing_but_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.full = True
    journal = JournalReplyStore(ObjectStoreSegments(shelf, every_s=0.01, closing_s=0.05), writer="one", stage="ask")
    journal.put(key_of(1), answer(1))
    journal.close()
    assert "is not written" in caplog.text
    shelf.full = False
    journal.close()
    assert stats(segments(shelf)).answers == 1


def test_an_upload_that_fails_is_made_again_and_nobody_is_told_before_it_is() -> None:
    shelf = Shelf()
    shelf.full = True

    async def run() -> None:
        journal = JournalReplyStore(segments(shelf), writer="one", stage="ask")
        waiting = []
        for n in range(30):  # more than a segment holds
            journal.put(key_of(n), answer(n))
            waiting.append(asyncio.create_task(journal.kept()))
            await asyncio.sleep(0.005)
        assert await asyncio.to_thread(shelf.often.wait, 20)
        assert not shelf.objects
        assert not any(task.done() for task in waiting)
        assert all(text(journal, n) == answer(n).text for n in range(30)), "what is not uploaded is read from memory"
        shelf.full = False
        await asyncio.gather(*waiting)
        assert journal.broken is None
        assert stats(segments(shelf)).answers == 30
        journal.put(key_of(30), answer(30))
        await journal.kept()
        assert stats(segments(shelf)).answers == 31

    asyncio.run(run())


def test_a_store_that_takes_no_more_for_long_is_said_to_the_first_and_the_last() -> None:
    shelf = Shelf()
    shelf.full = True

    async def run() -> None:
        journal = JournalReplyStore(segments(shelf, patience_s=1.0), writer="one", stage="ask")
        waiting = []
        for n in range(3):
            journal.put(key_of(n), answer(n))
            waiting.append(asyncio.create_task(journal.kept()))
            await asyncio.sleep(0.02)
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, OSError) for error in told)
        assert shelf.refused > 1
        with pytest.raises(OSError, match="may not be written"):
            journal.put(key_of(3), answer(3))

    asyncio.run(run())


def test_what_another_has_paid_for_is_seen_as_soon_as_a_listing_is_old() -> None:
    shelf = Shelf()
    other = JournalReplyStore(ObjectStoreSegments(shelf, listed_s=0.0), writer="other", stage="ask")
    watch = ObjectStoreSegments(shelf, listed_s=60.0)
    assert not watch.sizes()

    async def pay() -> None:
        journal = JournalReplyStore(segments(shelf), writer="one", stage="ask")
        journal.put(key_of(1), answer(1))
        await journal.kept()

    asyncio.run(pay())
    assert text(other, 1) == answer(1).text
    assert not watch.sizes(), "who only watches has time"
    before = shelf.listings
    assert all(text(other, 1) for _ in range(5))
    assert shelf.listings == before, "what is known costs no listing"


def test_where_reading_takes_long_a_listing_lasts_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("lvqa_ray.journal.object_segments.time.monotonic", lambda: now)

    class Far(Shelf):
        def sizes(self) -> dict[str, int]:
            nonlocal now
            now += 2.0
            return super().sizes()

    shelf = Far()
    far = ObjectStoreSegments(shelf)
    for _ in range(100):
        far.sizes()
        now += 1.0
    assert 8 < shelf.listings < 16, "at most a fifth of the time goes there"
