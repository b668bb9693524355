"""Health check of the Ray that a run uses: ends the run when Ray's control processes are gone.

Ray itself notices a dead raylet after about 15 s and a dead GCS (its control server) after 60 s, and then ends the
driver from C++ without a message. The check runs every `CHECK_EVERY_S` in a thread:

* A Ray that this process has started: whether its ``gcs_server`` and its ``raylet`` still run.
* A cluster: whether the GCS accepts TCP connections. It counts as lost after `GCS_DOWN_S` without one, because a GCS
  with external storage may restart.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import ray
from ray._private import worker as ray_worker

from lvqa_ray.engine.executors import ExecutorLost

CHECK_EVERY_S = 0.5
GCS_DOWN_S = 20.0
CONNECT_WITHIN_S = 2.0
CONTROL_PROCESSES = ("gcs_server", "raylet")
SHUTDOWN_WITHIN_S = 10.0


@contextmanager
def watch_ray() -> Iterator[None]:
    """Watch the connected Ray while the block runs; does nothing outside the main thread.

    Raises:
        ExecutorLost: In the block, within seconds after a control process died.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()
    lost = ""

    def check() -> None:
        nonlocal lost
        down_since = None
        gcs = ray.get_runtime_context().gcs_address
        while not over.wait(CHECK_EVERY_S):
            if dead := dead_process():
                lost = f"Ray's process {dead} has died (killed from outside, or out of memory)."
            elif not _accepts(gcs):
                down_since = down_since or time.monotonic()
                if time.monotonic() - down_since > GCS_DOWN_S:
                    lost = f"the head of the Ray cluster at {gcs} has not answered for {GCS_DOWN_S:.0f} s."
            else:
                down_since = None
            if lost and not over.is_set():
                os.kill(os.getpid(), signal.SIGUSR2)
                return

    def interrupt(_: int, __: FrameType | None) -> None:
        if not over.is_set():
            raise ExecutorLost(lost)

    before = signal.signal(signal.SIGUSR2, interrupt)
    thread = threading.Thread(target=check, name="ray-health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR2, before)


def dead_process() -> str:
    """Name of a control process that this process started and that has ended; else empty."""
    node: Any = ray_worker._global_node  # there is no public function
    dead = [name for name, _ in node.dead_processes()] if node is not None else []
    return next((name for name in CONTROL_PROCESSES if name in dead), "")


def shut_down() -> None:
    """Shut Ray down; if a control process is gone, kill the remaining ones first.

    ``ray.shutdown`` calls the GCS, and would wait for a dead one.
    """
    if not dead_process():
        ray.shutdown()
        return
    node: Any = ray_worker._global_node
    thread = threading.Thread(target=ray.shutdown, daemon=True)
    with suppress(Exception):
        node.kill_all_processes(check_alive=False, allow_graceful=False)
    thread.start()
    thread.join(SHUTDOWN_WITHIN_S)


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_WITHIN_S):
            return True
    except OSError:
        return False
