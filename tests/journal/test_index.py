"""The index of journal lines: it gives what a dictionary would give, in a fifth of the memory."""

from __future__ import annotations

import hashlib
import random
import tracemalloc

from lvqa_ray.journal.index import LEAST_MERGED, GrowingIndex, Place


def key_of(n: int) -> bytes:
    return hashlib.sha256(str(n).encode()).digest()


def test_a_growing_index_gives_what_a_dictionary_gives() -> None:
    choice = random.Random(4)  # noqa: S311 - chance that can be repeated
    index, expected = GrowingIndex(), dict[bytes, Place]()
    for step in range(12 * LEAST_MERGED):
        key = key_of(choice.randrange(6 * LEAST_MERGED))
        if choice.random() < 0.1:
            index.remove(key)
            expected.pop(key, None)
        else:
            place = (f"ask-{choice.randrange(3)}.jsonl", 2**33 + step, choice.randrange(1, 2**20))
            index.set(key, place)
            expected[key] = place
        if step % 5000 == 0:
            index.index()
    keys = [key_of(n) for n in range(6 * LEAST_MERGED + 9)]
    assert [index.get(key) for key in keys] == [expected.get(key) for key in keys]
    whole = index.index()
    assert len(whole) == len(expected)
    assert [whole.place(key.hex()) for key in keys] == [expected.get(key) for key in keys]


def test_keys_with_the_same_beginning_are_told_apart_once_split() -> None:
    """Eight equal bytes: whatever is set, removed or merged afterwards, each key has its own line."""
    one, two, three = (key_of(0)[:8] + key_of(n)[8:] for n in range(3))
    index = GrowingIndex()
    index.set(one, ("a", 1, 1))
    index.set(two, ("a", 2, 1))
    index.index()
    index.split(one, {one: ("a", 1, 1), two: ("a", 2, 1)})
    for n in range(10, 10 + 2 * LEAST_MERGED):
        index.set(key_of(n), ("b", n, 1))
    assert [index.get(key) for key in (one, two, three)] == [("a", 1, 1), ("a", 2, 1), None]
    index.set(three, ("c", 3, 1))
    index.remove(two)
    assert [index.get(key) for key in (one, two, three)] == [("a", 1, 1), None, ("c", 3, 1)]
    whole = index.index()
    assert set(whole.places(one.hex())) == {("a", 1, 1), ("c", 3, 1)}
    assert len(whole) == 2 + 2 * LEAST_MERGED
    assert whole.place(key_of(10).hex()) == ("b", 10, 1)


def test_an_entry_takes_little_memory() -> None:
    keys = [key_of(n) for n in range(40_000)]
    tracemalloc.start()
    index = GrowingIndex()
    for offset, key in enumerate(keys):
        index.set(key, ("ask-w.jsonl", offset, 300))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / len(keys) < 60, "bytes; a dictionary takes 200"
