"""A model server for tests, as a process: it passes its connections on to the fake endpoint of the test.

``python tests/fakes/relay.py PORT TARGET_PORT [SECONDS]`` listens after SECONDS. Only the standard library, so that it
starts at once; the fake endpoint counts the requests of all servers together.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"
SCRIPT = str(Path(__file__))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(port: int, target: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, target)
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    server = await asyncio.start_server(connected, HOST, port)
    await server.serve_forever()


def main() -> None:
    """Relay until killed."""
    port, target, *seconds = sys.argv[1:]
    for done in range(int(float((seconds or ["0"])[0]) * 10)):
        print(f"Loading safetensors checkpoint shards: {done}/9", flush=True)  # noqa: T201 - its log
        time.sleep(0.1)
    asyncio.run(_serve(int(port), int(target)))


if __name__ == "__main__":
    main()
