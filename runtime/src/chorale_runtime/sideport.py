"""The side port: `/metrics` for Prometheus, `/livez` and `/readyz` for orchestrators."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from chorale_runtime import listening, metrics

_REQUEST_BYTES_MAX = 8 * 1024
_REQUEST_SECONDS = 5.0
_CONNECTIONS_MAX = 64

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_TEXT = "text/plain; charset=utf-8"


class SidePort:
    """A few fixed pages over plain HTTP/1.1."""

    def __init__(self, is_serving: Callable[[], Awaitable[bool]]) -> None:
        self._is_serving = is_serving
        self._open = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request and closes."""
        self._open += 1
        try:
            if self._open <= _CONNECTIONS_MAX:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._page(head))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone, or never asked properly
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _page(self, head: bytes) -> bytes:
        verb, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if verb not in (b"GET", b"HEAD"):
            return _response(405, _TEXT, b"Only GET is answered here.\n")
        if path == b"/metrics":
            return _response(200, *metrics.accepted(_accept(head)))
        if path == b"/livez":
            return _response(200, _TEXT, b"live\n")
        if path == b"/readyz":
            ready = await self._is_serving()
            return _response(200 if ready else 503, _TEXT, b"ready\n" if ready else b"not ready\n")
        return _response(404, _TEXT, b"There are /metrics, /livez and /readyz.\n")


@contextlib.asynccontextmanager
async def open_at(address: str, is_serving: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
    """Serves the side port and yields its address; an empty one serves nothing."""
    if not address:
        yield ""
        return
    host, port = listening.split(address)
    listening.refuse_taken(host, port, address)
    side = SidePort(is_serving)
    server = await asyncio.start_server(side.answer, host, port, limit=_REQUEST_BYTES_MAX)
    bound = server.sockets[0].getsockname()[1]
    try:
        yield f"{host}:{bound}"
    finally:
        server.close()
        await server.wait_closed()


def _accept(head: bytes) -> str:
    """What the asker reads, by all its Accept headers."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return ",".join(
        value.decode("latin-1") for name, _, value in lines if name.strip().lower() == b"accept"
    )


def _response(status: int, content_type: str, body: bytes) -> bytes:
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    ).encode() + body
