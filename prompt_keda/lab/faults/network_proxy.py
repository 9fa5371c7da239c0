"""A proxy that is slow, or cuts connections: what a bad network does on the way to a server.

It runs inside the stack as ``python network_proxy.py PORT TARGET TARGET_PORT WAY [SECONDS]``, with the standard library alone:

- ``slow``: each piece of an answer comes so many seconds later. TCP itself connects at once.
- ``cut``: the connection is taken, and reset once the client has said something: in the TLS handshake, if there is one.
- ``cut-answer``: the handshake is passed on, and the connection reset in the midst of what the server says after it: of its
  answer, or of the session ticket that it sends before.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

PIECE_BYTES = 65536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: to close is to reset (socket(7))."""
HANDSHAKE_TURNS = 2
"""The client speaks twice in a TLS 1.3 handshake: its hello; then that it is content, with the request behind it."""


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection by a reset: what was sent and not yet read may be lost."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


class Connection:
    """One connection of a client's, and the one to the server that it is passed on to."""

    def __init__(self, client: asyncio.StreamWriter, way: str, delay_s: float) -> None:
        self._client = client
        self._way = way
        self._delay_s = delay_s
        self._turns, self._speaks = 0, ""

    async def forward(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        """Pass on what the client says; with ``cut`` its first words end it."""
        while data := await reader.read(PIECE_BYTES):
            self._turns += self._speaks != "client"
            self._speaks = "client"
            if self._way == "cut":
                reset(self._client)
                break
            server.write(data)
            await server.drain()
        server.close()

    async def answer(self, reader: asyncio.StreamReader) -> None:
        """Pass on what the server says, as late or as little of it as the way wants."""
        late = asyncio.Queue[tuple[float, bytes]]()
        taking = asyncio.create_task(self._take(reader, late))
        while True:
            due, data = await late.get()
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            if not data:
                break
            is_cut = self._way == "cut-answer" and self._turns >= HANDSHAKE_TURNS
            self._client.write(data[: len(data) // 2] if is_cut else data)
            await self._client.drain()
            if is_cut:
                reset(self._client)
                break
        taking.cancel()
        self._client.close()

    async def _take(self, reader: asyncio.StreamReader, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Read on while pieces wait: they overtake neither each other nor the end, which is empty."""
        time = asyncio.get_running_loop().time
        try:
            while data := await reader.read(PIECE_BYTES):
                self._speaks = "server"
                late.put_nowait((time() + self._delay_s, data))
        finally:
            late.put_nowait((time() + self._delay_s, b""))


def taker(
    target: str, port: int, way: str, delay_s: float
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Return what serves one connection."""

    async def take(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        connection = Connection(client, way, delay_s)
        with suppress(OSError):  # one side is gone: so is the other then
            there, server = await asyncio.open_connection(target, port)
            both = connection.forward(reader, server), connection.answer(there)
            await asyncio.gather(*both, return_exceptions=True)
            server.close()
        client.close()

    return take


async def main(port: int, target: str, target_port: int, way: str, delay_s: float) -> None:
    """Serve until it is stopped."""
    server = await asyncio.start_server(taker(target, target_port, way, delay_s), None, port)
    await server.serve_forever()


if __name__ == "__main__":
    _port, _target, _target_port, _way, *_seconds = sys.argv[1:]
    asyncio.run(main(int(_port), _target, int(_target_port), _way, float(_seconds[0]) if _seconds else 0.0))
