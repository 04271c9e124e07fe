"""The servers that runtime benchmarks measure: ours, bare grpc.aio, FastAPI.

python -m bench.servers ours       everything on that CHORALE_* rows ask for
python -m bench.servers bare       the same servicer on grpc.aio, nothing around it
python -m bench.servers fastapi    what the same would be over HTTP
"""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chorale.ingest.v1 import ingest_service_pb2 as ingest
from chorale.ingest.v1 import ingest_service_pb2_grpc as ingest_grpc
from chorale.ingest.v1 import reading_pb2, upload_pb2

from bench.children import announce

MEBIBYTE = 1 << 20
_TEST_BYTES = bytes(range(256)) * (MEBIBYTE // 256)


class Servicer(ingest_grpc.IngestServiceServicer):
    """Answers with no work of its own, so that what is measured is the way there and back."""

    async def GetUpload(self, request: Any, _context: Any) -> Any:
        """Says something small."""
        upload = upload_pb2.Upload(name=request.name, committed_bytes=7)
        return upload_pb2.GetUploadResponse(upload=upload)

    async def WriteUpload(self, requests: AsyncIterator[Any], _context: Any) -> Any:
        """Takes chunks and forgets them."""
        size = 0
        async for request in requests:
            size += len(request.data)
        return upload_pb2.WriteUploadResponse(committed_bytes=size)

    async def ReadBytes(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        """Sends `length_bytes` in chunks of the size that `offset_bytes` says."""
        left, chunk_bytes = request.length_bytes, request.offset_bytes
        while left > 0:
            size = min(left, chunk_bytes)
            yield reading_pb2.ReadBytesResponse(data=_TEST_BYTES[:size])
            left -= size


def ours() -> None:
    """Serves by the runtime, by its own `serve`."""
    from chorale_runtime.app import App, Service
    from chorale_runtime.server import serve
    from chorale_runtime.settings import ServerSettings

    @asynccontextmanager
    async def build(settings: ServerSettings) -> AsyncIterator[App]:
        descriptor = ingest.DESCRIPTOR.services_by_name["IngestService"]
        service = Service(descriptor, Servicer(), ingest_grpc.add_IngestServiceServicer_to_server)
        announce(settings.address)
        yield App("ingest", (service,))

    serve(ServerSettings, build, arguments=())


def bare() -> None:
    """Serves by grpc.aio alone, on the same loop and with the same options."""
    import grpc
    import uvloop
    from chorale_runtime import listening, memory
    from chorale_runtime.settings import ServerSettings

    async def main() -> None:
        # The allocator is set as ours is: without, bare gRPC would lose for that alone.
        memory.keep_at_hand()
        server = grpc.aio.server(options=listening.options(ServerSettings()))
        ingest_grpc.add_IngestServiceServicer_to_server(Servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        announce(f"127.0.0.1:{port}")
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        await server.stop(1)

    uvloop.run(main())


def fastapi() -> None:
    """Serves by FastAPI on uvicorn with uvloop and httptools, no access log."""
    import uvicorn
    from fastapi import FastAPI, UploadFile

    app = FastAPI()

    @app.get("/uploads/{name}")
    async def get_upload(name: str) -> dict[str, object]:
        return {"name": name, "committed_bytes": 7}

    @app.post("/upload")
    async def upload(file: UploadFile) -> dict[str, int]:
        size = 0
        while chunk := await file.read(MEBIBYTE):
            size += len(chunk)
        return {"committed_bytes": size}

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=600,
    )
    announce(f"127.0.0.1:{listener.getsockname()[1]}")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    {"ours": ours, "bare": bare, "fastapi": fastapi}[sys.argv[1]]()
