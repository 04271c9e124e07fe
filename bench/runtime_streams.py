"""G9, G10: sound through the runtime, against bare grpc.aio and against a FastAPI upload.

Client-stream upload and server-stream read in chunks of 256 KiB and 1 MiB. The servers run in
processes of their own; the client, the same for both, in this one. Speed is wall time of the
best round, CPU the server's, median.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import grpc
from chorale.ingest.v1 import ingest_service_pb2_grpc as ingest_grpc
from chorale.ingest.v1 import reading_pb2, upload_pb2
from chorale_runtime import memory

from bench.children import Child, free_address, in_turns, serving
from bench.ratios import Ratio, report

MEBIBYTE = 1 << 20
MEBIBYTES = 96
ROUNDS = 9
UPLOAD = "uploads/5d0c0000-0000-4000-8000-000000000000"
AUDIO = f"audio/{'0' * 64}"
OPTIONS = (("grpc.max_receive_message_length", 4 * MEBIBYTE),)


@dataclass
class Spent:
    """What the rounds of one contender took, per MiB."""

    seconds: list[float] = field(default_factory=list)
    cpu_milliseconds: list[float] = field(default_factory=list)

    @property
    def speed(self) -> list[float]:
        """MiB a second."""
        return [1 / seconds for seconds in self.seconds]


def main() -> int:
    """Measures all in turns and reports."""
    # As our servers and the SDK do; else the client would be what is measured.
    memory.keep_at_hand()
    environ = {"CHORALE_ADDRESS": free_address(), "CHORALE_LOG_LEVEL": "warning"}
    with (
        serving("bench.servers", "ours", environ=environ) as ours,
        serving("bench.servers", "bare") as bare,
        serving("bench.servers", "fastapi") as fastapi,
    ):
        return asyncio.run(_measure(ours, bare, fastapi))


async def _measure(ours: Child, bare: Child, fastapi: Child) -> int:
    figures: list[Ratio] = []
    async with (
        grpc.aio.insecure_channel(ours.address, options=OPTIONS) as channel,
        grpc.aio.insecure_channel(bare.address, options=OPTIONS) as bare_channel,
    ):
        stubs = {
            "ours": (ours, ingest_grpc.IngestServiceStub(channel)),
            "bare": (bare, ingest_grpc.IngestServiceStub(bare_channel)),
        }
        for chunk_bytes in (256 * 1024, MEBIBYTE):
            label = f"{chunk_bytes // 1024} KiB"
            for what, act in (("upload", _upload), ("read", _read)):
                contenders = {
                    name: (server, _bound(act, stub, chunk_bytes))
                    for name, (server, stub) in stubs.items()
                }
                if what == "upload":
                    contenders["fastapi"] = (fastapi, lambda: _multipart(fastapi.address))
                spent = await _in_turns(contenders)
                figures += _ratios(f"{what} {label}", spent)
    return report(figures)


def _bound(
    act: Callable[[ingest_grpc.IngestServiceStub, int], Awaitable[None]],
    stub: ingest_grpc.IngestServiceStub,
    chunk_bytes: int,
) -> Callable[[], Awaitable[None]]:
    return lambda: act(stub, chunk_bytes)


async def _in_turns(
    contenders: dict[str, tuple[Child, Callable[[], Awaitable[None]]]],
) -> dict[str, Spent]:
    spent = {name: Spent() for name in contenders}
    for name, (_, act) in contenders.items():
        await act()  # warms up
        assert name in spent
    for name in in_turns(ROUNDS, tuple(contenders)):
        server, act = contenders[name]
        cpu, started = server.cpu_seconds(), time.perf_counter()
        await act()
        spent[name].seconds.append((time.perf_counter() - started) / MEBIBYTES)
        spent[name].cpu_milliseconds.append((server.cpu_seconds() - cpu) / MEBIBYTES * 1000)
    return spent


def _ratios(what: str, spent: dict[str, Spent]) -> list[Ratio]:
    ours, bare = spent["ours"], spent["bare"]
    unit = "ms of CPU/MiB"
    found = [
        Ratio(
            f"{what}: speed ours / bare", ours.speed, bare.speed, "MiB/s", at_least=0.9, typical=max
        ),
        Ratio(f"{what}: CPU ours / bare", ours.cpu_milliseconds, bare.cpu_milliseconds, unit),
    ]
    if (web := spent.get("fastapi")) is not None:
        found += [
            Ratio(
                f"{what}: speed ours / FastAPI",
                ours.speed,
                web.speed,
                "MiB/s",
                at_least=2.5,
                typical=max,
            ),
            Ratio(
                f"{what}: CPU ours / FastAPI",
                ours.cpu_milliseconds,
                web.cpu_milliseconds,
                unit,
                at_most=0.5,
            ),
        ]
    return found


async def _upload(stub: ingest_grpc.IngestServiceStub, chunk_bytes: int) -> None:
    data = os.urandom(chunk_bytes)

    async def requests() -> AsyncIterator[upload_pb2.WriteUploadRequest]:
        for offset_bytes in range(0, MEBIBYTES * MEBIBYTE, chunk_bytes):
            yield upload_pb2.WriteUploadRequest(
                upload=UPLOAD, offset_bytes=offset_bytes, data=data, crc32c=7
            )

    answer = await stub.WriteUpload(requests())
    assert answer.committed_bytes == MEBIBYTES * MEBIBYTE


async def _read(stub: ingest_grpc.IngestServiceStub, chunk_bytes: int) -> None:
    request = reading_pb2.ReadBytesRequest(
        audio=AUDIO, offset_bytes=chunk_bytes, length_bytes=MEBIBYTES * MEBIBYTE
    )
    size = 0
    async for answer in stub.ReadBytes(request):
        size += len(answer.data)
    assert size == MEBIBYTES * MEBIBYTE


async def _multipart(address: str) -> None:
    """Uploads one file as a browser would, from a client that costs next to nothing."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        b'--edge\r\ncontent-disposition: form-data; name="file"; filename="song.wav"\r\n'
        b"content-type: application/octet-stream\r\n\r\n"
    )
    tail = b"\r\n--edge--\r\n"
    size = len(head) + MEBIBYTES * MEBIBYTE + len(tail)
    writer.write(
        f"POST /upload HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-length: {size}\r\n"
        "content-type: multipart/form-data; boundary=edge\r\n\r\n".encode()
    )
    writer.write(head)
    data = os.urandom(MEBIBYTE)
    for _ in range(MEBIBYTES):
        writer.write(data)
        await writer.drain()
    writer.write(tail)
    answer = await reader.read()
    assert f'"committed_bytes":{MEBIBYTES * MEBIBYTE}' in answer.decode(), answer
    writer.close()


if __name__ == "__main__":
    sys.exit(main())
