"""A proxy that adds time to every answer of the local stack: what production is like from far away.

Run inside the stack's network namespace as `python delay.py ADDRESS SECONDS PORT…`: it listens on PORT + 10000 of each
port, and passes everything on, each way half of the seconds later.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

OFFSET = 10_000


async def pump(reader, writer, delay_s):
    """Pass on what comes, each piece ``delay_s`` later; pieces overtake neither each other nor the end."""
    queue = asyncio.Queue()

    async def take():
        while data := await reader.read(65536):
            queue.put_nowait((asyncio.get_running_loop().time() + delay_s, data))
        queue.put_nowait((asyncio.get_running_loop().time() + delay_s, b""))

    taking = asyncio.create_task(take())
    with suppress(ConnectionError, asyncio.CancelledError):
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
    taking.cancel()
    with suppress(ConnectionError, RuntimeError):
        writer.close()


async def serve(address, delay_s, port):
    async def connected(reader, writer):
        await asyncio.sleep(delay_s)  # the handshake of TCP
        try:
            there, here = await asyncio.open_connection(address, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, here, delay_s / 2), pump(there, writer, delay_s / 2))

    return await asyncio.start_server(connected, address, port + OFFSET)


async def main():
    address, delay_s, *ports = sys.argv[1:]
    servers = [await serve(address, float(delay_s), int(port)) for port in ports]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
