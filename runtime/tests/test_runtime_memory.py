"""Memory: many streams at once, long ones, and an allocator that does not thrash."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from chorale.ingest.v1 import ingest_service_pb2_grpc, upload_pb2
from songs import UPLOAD

MEBIBYTE = 1 << 20
CHUNK_BYTES = 256 * 1024
STREAMS = 500

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@dataclass(frozen=True)
class Server:
    """A server process and what the kernel knows of it."""

    address: str
    pid: int

    def peak_mebibytes(self) -> float:
        """The most it ever had resident."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024

    def faults(self) -> int:
        """Pages it asked the kernel for so far."""
        return int(Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").split()[9])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A fresh server process."""
    announced = tmp_path / "songs.json"
    environ = {key: value for key, value in os.environ.items() if "CHORALE" not in key}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "song_server.py")],
        env={
            **environ,
            "CHORALE_ANNOUNCE_FILE": str(announced),
            "CHORALE_MAX_CONCURRENT_STREAMS": "1000",
            "CHORALE_LOG_LEVEL": "error",
        },
    )
    while not announced.exists():
        assert process.poll() is None
        time.sleep(0.02)
    yield Server(json.loads(announced.read_text())["address"], process.pid)
    process.terminate()
    process.wait(15)


async def upload(channel: Any, mebibytes: int, chunk_bytes: int = CHUNK_BYTES) -> None:
    """Streams zeros; every byte must arrive."""
    data = bytes(chunk_bytes)

    async def requests() -> AsyncIterator[Any]:
        for number in range(mebibytes * MEBIBYTE // chunk_bytes):
            yield upload_pb2.WriteUploadRequest(
                upload=UPLOAD, offset_bytes=number * chunk_bytes, data=data
            )

    stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
    answer = await stub.WriteUpload(requests(), timeout=300)
    assert answer.committed_bytes == mebibytes * MEBIBYTE


@pytest.mark.slow
async def test_500_streams_at_once_all_end_well_in_bounded_memory(server: Server) -> None:
    """2 MiB over each of 500 streams: none fails, and each holds at most four chunks.

    One in the servicer's hands, one being received, one unread, and one for the allocator.
    """
    async with grpc.aio.insecure_channel(server.address) as channel:
        await upload(channel, 16)
        idle = server.peak_mebibytes()
        await asyncio.gather(*(upload(channel, 2) for _ in range(STREAMS)))
    held = server.peak_mebibytes() - idle
    assert held <= STREAMS * 4 * CHUNK_BYTES / MEBIBYTE, f"{held:.0f} MiB for {STREAMS} streams"


@pytest.mark.slow
async def test_a_long_upload_needs_no_more_memory_than_a_short_one(server: Server) -> None:
    """Peak of 2 GiB within 1.1x of that of 64 MiB (G12)."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        await upload(channel, 64, MEBIBYTE)
        short = server.peak_mebibytes()
        await upload(channel, 2048, MEBIBYTE)
    assert server.peak_mebibytes() <= 1.1 * short


async def test_streaming_asks_the_kernel_for_no_memory(server: Server) -> None:
    """Pages are kept between chunks: without, every MiB would cost hundreds of faults."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        await upload(channel, 32)
        before = server.faults()
        await upload(channel, 64)
    per_mebibyte = (server.faults() - before) / 64
    assert per_mebibyte < 50, f"{per_mebibyte:.0f} page faults per MiB"
