"""Uploads and downloads whose connections are cut at random bytes still end bit-exact."""

import hashlib
from pathlib import Path

import pytest
from chorale_client import AsyncChorale, ConflictError
from conftest import PATIENCE, Served
from cutting_proxy import CuttingProxy
from songs import pcm, song

CHUNK_BYTES = 1 << 20


@pytest.mark.parametrize("seed", range(4))
async def test_an_upload_cut_again_and_again_arrives_whole(served: Served, seed: int) -> None:
    """Fifty cuts at random bytes: the digest is right and no stored byte is sent twice."""
    wav = song(seed, frame_count=6_000_000)  # 24 MB
    async with (
        CuttingProxy(served.port, seed, cuts=50, bytes_mean=1_500_000) as proxy,
        AsyncChorale(f"127.0.0.1:{proxy.port}", patience=PATIENCE) as chorale,
    ):
        audio = await chorale.put(wav)
    assert audio.name == f"audio/{hashlib.sha256(wav).hexdigest()}"
    print(proxy.cuts_done, served.ingest.streams, served.ingest.received_bytes - len(wav))
    assert proxy.cuts_done >= 20
    assert served.ingest.received_bytes - len(wav) <= CHUNK_BYTES
