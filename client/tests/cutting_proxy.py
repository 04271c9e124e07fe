"""A TCP proxy that cuts connections after a seeded random number of bytes."""

import asyncio
import random
from types import TracebackType
from typing import Self

READ_BYTES = 16 << 10


class CuttingProxy:
    """Stands between a client and a server. Each connection dies young, `cuts` times in all."""

    def __init__(self, target_port: int, seed: int, cuts: int, bytes_mean: int) -> None:
        self._target_port = target_port
        self._random = random.Random(seed)
        self._bytes_mean = bytes_mean
        self.cuts_left = cuts
        self.cuts_done = 0
        self._connections: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # the transports close in the next turn of the loop

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._connections.append(asyncio.create_task(self._join(reader, writer)))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers.append(back)
        life_bytes = self._random.randint(1, 2 * self._bytes_mean)
        budget = [life_bytes]
        ways = [
            asyncio.create_task(self._pump(reader, back, budget)),
            asyncio.create_task(self._pump(there, writer, budget)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (back, writer):
                end.transport.abort()  # RST: what was under way is lost

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: list[int]
    ) -> None:
        while data := await reader.read(READ_BYTES):
            is_last = budget[0] <= len(data) and self.cuts_left > 0  # others may have had the rest
            writer.write(data[: budget[0]] if is_last else data)
            budget[0] -= len(data)
            if is_last:
                self.cuts_left -= 1
                self.cuts_done += 1
                budget[0] = 1 << 62  # a connection is cut once, not once each way
            await writer.drain()
            if is_last:
                return
