"""Replicas are replaced while clients work: nobody notices."""

import asyncio
import io
import uuid
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chorale.ingest.v1 import reading_pb2
from chorale_client import AsyncChorale
from replicas import replicated


def _song(seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 0.1, (22050, 2))
    file = io.BytesIO()
    soundfile.write(file, noise, 44100, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.mark.slow
async def test_no_call_and_no_operation_is_lost_while_replicas_are_replaced(tmp_path: Path) -> None:
    """Uploads, reads and exports go on; every old process drains and ends by itself."""
    async with replicated(tmp_path / "state", ["ingest"]) as mesh, mesh.client() as chorale:
        done, rounds = asyncio.Event(), [0, 0]

        async def work(client: int) -> None:
            while not done.is_set():
                await _once(chorale, _song(client * 10_000 + rounds[client]))
                rounds[client] += 1
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as clients:
            for client in range(len(rounds)):
                clients.create_task(work(client))
            assert await mesh.replace_all() == [("ingest", 0), ("ingest", 0)]
            done.set()
        assert min(rounds) >= 3


async def _once(chorale: AsyncChorale, song: bytes) -> None:
    audio = await chorale.put(song, file_name="song.wav", timeout_seconds=60)
    assert b"".join([chunk async for chunk in chorale.read_bytes(audio)]) == song
    request = reading_pb2.ExportAudioRequest(
        audio=audio.name, encoding="ENCODING_FLAC", request_id=str(uuid.uuid4())
    )
    exporting = await chorale.start(
        chorale.ingest.ExportAudio, request, reading_pb2.ExportAudioResponse
    )
    exported = await exporting.result(timeout_seconds=60)
    assert exported.size_bytes > 0
