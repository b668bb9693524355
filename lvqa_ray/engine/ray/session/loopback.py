"""Network of a local Ray: its ports listen on 127.0.0.1 only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import ray_constants

VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own switch. Ray uses the address of the network unless this is 0, which is its default on macOS and Windows;
all of its servers listen on loopback if the node's address is 127.0.0.1."""


@contextmanager
def bound_to_loopback() -> Iterator[None]:
    """Have a Ray that starts inside the block listen on 127.0.0.1 only: no other machine joins it.

    A value that the user has set stays.
    """
    if VARIABLE in os.environ:
        yield
        return
    constants: Any = ray_constants  # Ray has read the variable at its import, and its children read it again
    before = getattr(constants, "ENABLE_RAY_CLUSTER", None)
    os.environ[VARIABLE] = "0"
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        constants.ENABLE_RAY_CLUSTER = before


def keep_replica_on_loopback() -> None:
    """Have the replica of Ray Serve that runs in this process listen on 127.0.0.1 only, if its Ray does.

    Ray Serve 2.60 binds the server for requests of its proxies to all addresses (``_on_initialized`` in
    ``ray/serve/_private/replica.py``), and it unpickles what it gets. Called before that, when the application is made.
    """
    if os.environ.get(VARIABLE) != "0":
        return
    from ray.serve._private import replica  # noqa: PLC0415 - only where Ray Serve runs

    module: Any = replica
    bind = getattr(module, "add_port_to_grpc_server", None)
    if bind is not None:
        module.add_port_to_grpc_server = lambda server, address: bind(server, address.replace("[::]", "127.0.0.1"))
