"""Notes about Ray Serve and its models in Ray's key-value store, which every run on one Ray reads.

They outlive actors: a janitor that died would otherwise take with it who started Ray Serve, and which models stay.
"""

from __future__ import annotations

import time

from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_exists,
    _internal_kv_list,
    _internal_kv_put,
)

NAMESPACE = "lvqa-models"
SERVE_IS_OURS = "started-serve"
ENDING = "serve-may-end"
IN_USE, STAYS = "in-use/", "stays/"
FREE_WITHIN_S = 60.0
"""The janitor that holds the lock may have been killed."""
LOCK_POLL_S = 0.1


def is_set(key: str) -> bool:
    """Whether a note is there."""
    return bool(_internal_kv_exists(key, namespace=NAMESPACE))


def put(key: str) -> None:
    """Leave a note."""
    _internal_kv_put(key, b"1", namespace=NAMESPACE)


def remove(key: str) -> None:
    """Remove a note, if it is there."""
    _internal_kv_del(key, namespace=NAMESPACE)


def any_in_use() -> bool:
    """Whether a janitor keeps a model."""
    return bool(_internal_kv_list(IN_USE, namespace=NAMESPACE))


def lock_serve() -> None:
    """Be the only janitor that looks whether Ray Serve is still needed; `remove` ``ENDING`` afterwards.

    A janitor notes first that its model is in use, and its run waits for the lock then. So either the janitor that has
    the lock sees the note, or the run sees the lock.
    """
    until = time.monotonic() + FREE_WITHIN_S
    while _internal_kv_put(ENDING, b"1", overwrite=False, namespace=NAMESPACE) and time.monotonic() < until:
        time.sleep(LOCK_POLL_S)


def wait_for_lock() -> None:
    """Wait until no janitor may be shutting Ray Serve down."""
    until = time.monotonic() + FREE_WITHIN_S
    while is_set(ENDING) and time.monotonic() < until:
        time.sleep(LOCK_POLL_S)
