"""A hundred uploads of 10 MB at once, and small calls beside them.

All must finish with the right digest, fairly (the last not long after the median), in bounded
memory; `GetAudio` beside them answers within 250 ms in 99 of 100 calls.

    python -m bench.ingest_uploads            # 100 uploads
    python -m bench.ingest_uploads 20
"""

import asyncio
import hashlib
import statistics
import sys
import time
from typing import Any

import grpc
import numpy as np
from chorale.ingest.v1 import audio_pb2
from chorale_ingest import wave

from bench.children import Child
from bench.ratios import Bound, report
from bench.storage import OPTIONS, Ingest, ingest_alone, store, stub_of

FILE_FRAMES = 2_621_440  # 10 MiB of 16-bit stereo
GOAL_MILLISECONDS, GOAL_MEBIBYTES = 250.0, 640.0
EVERY_SECONDS = 0.02


def main(count: int) -> int:
    """Measure and report."""
    with ingest_alone() as running:
        return report(asyncio.run(_measure(running, count)))


async def _measure(running: Ingest, count: int) -> list[Bound]:
    async with (
        grpc.aio.insecure_channel(running.address, options=OPTIONS) as channel,
        grpc.aio.insecure_channel(
            running.address, options=(*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        ) as other,
    ):
        small = await store(stub_of(channel), _file(10_000, 8000))
        taken: list[float] = []
        asking = asyncio.create_task(_ask(stub_of(other), small.name, taken))
        begun = time.perf_counter()
        ends = await asyncio.gather(
            *(_upload(stub_of(channel), number, begun) for number in range(count))
        )
        asking.cancel()
    peak = Child(running.address, running.pid).peak_mebibytes()
    print(f"{count} uploads in {max(ends):.1f} s, {len(taken)} GetAudio beside them")
    print(f"GetAudio median {statistics.median(taken):.1f} ms, worst {max(taken):.0f} ms")
    return [
        Bound("GetAudio beside uploads, p99", _p99(taken), "ms", GOAL_MILLISECONDS),
        Bound("last upload / median upload", max(ends) / statistics.median(ends), "", 3.0),
        Bound("peak memory of the service", peak, "MiB", GOAL_MEBIBYTES),
    ]


def _file(number: int, frame_count: int = FILE_FRAMES) -> bytes:
    noise = np.random.default_rng(number).integers(-9000, 9000, (frame_count, 2), dtype="<i2")
    return wave.head(16, False, 2, 44_100, frame_count) + noise.tobytes()


async def _upload(stub: Any, number: int, begun: float) -> float:
    data = await asyncio.to_thread(_file, number)
    audio = await store(stub, data)
    if audio.name != f"audio/{hashlib.sha256(data).hexdigest()}":
        raise SystemExit(f"The digest is wrong: {audio.name}")
    return time.perf_counter() - begun


async def _ask(stub: Any, name: str, taken: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await stub.GetAudio(audio_pb2.GetAudioRequest(name=name), timeout=60)
        taken.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(EVERY_SECONDS)


def _p99(taken: list[float]) -> float:
    return sorted(taken)[min(len(taken) - 1, round(0.99 * len(taken)))]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
