"""Live listening: many streams in real time, how late their answers come, and what they cost.

    python -m bench.analysis_live [--streams 20] [--seconds 30]

Starts a real analysis service, plays as many streams into it at the speed of sound, in blocks of
20 ms, and notes for every answer that is not final how long ago the last frame that it speaks of
was sent: what listening itself lies behind the sound is in it. Exits 1 when a goal is missed.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from chorale.analysis.v1 import analysis_service_pb2_grpc, live_pb2
from chorale.audio.v1 import audio_pb2

from bench.children import Child
from bench.ratios import Bound, report
from bench.sounds import RATE_HZ, music
from bench.storage import service, storage

_BLOCK_SECONDS = 0.02
_SETTLING_SECONDS = 5.0  # the first stream of a process waits for what listening needs
_LATENCY_MS_MOST = 250.0
_CORES_MOST = 2.0


@dataclass
class Played:
    """What was noted of one stream."""

    sent: list[float] = field(default_factory=list)  # when each block was
    late_ms: list[float] = field(default_factory=list)
    behind_ms: float = 0.0  # how far the sender fell behind the clock at most
    last_seconds: float = 0.0  # from the last block to the last answer


async def play(stub: Any, sound: np.ndarray[Any, Any], delay_seconds: float) -> Played:
    """Plays one stream at the speed of sound and notes how late its answers come."""
    await asyncio.sleep(delay_seconds)
    noted, block = Played(), round(_BLOCK_SECONDS * RATE_HZ)
    blocks = [sound[at : at + block].tobytes() for at in range(0, len(sound) - block, block)]

    async def requests() -> AsyncIterator[live_pb2.StreamAnalysisRequest]:
        sound_format = audio_pb2.PcmFormat(sample_rate_hz=RATE_HZ, channel_count=sound.shape[1])
        config = live_pb2.StreamAnalysisConfig(format=sound_format)
        yield live_pb2.StreamAnalysisRequest(config=config)
        begun = time.monotonic()
        for number, data in enumerate(blocks, start=1):
            ahead = begun + number * _BLOCK_SECONDS - time.monotonic()
            await asyncio.sleep(max(0.0, ahead))
            noted.behind_ms = max(noted.behind_ms, -1000.0 * ahead)
            noted.sent.append(time.monotonic())
            yield live_pb2.StreamAnalysisRequest(frames=data)

    async for answer in stub.StreamAnalysis(requests()):
        now = time.monotonic()
        noted.last_seconds = now - noted.sent[-1]
        end = answer.span.start_frame + answer.span.frame_count
        if not answer.is_final and end > _SETTLING_SECONDS * RATE_HZ:
            sent = noted.sent[min(len(noted.sent), -(-end // block)) - 1]
            noted.late_ms.append(1000.0 * (now - sent))
    return noted


async def measured(child: Child, count: int, seconds: float) -> tuple[list[Played], float]:
    """All streams at once, begun at different moments, and the CPU cores they took."""
    tones = music(seconds, 1)
    sound = np.ascontiguousarray(tones.reshape(len(tones), -1).astype("<f4"))
    async with grpc.aio.insecure_channel(child.address) as channel:
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        await asyncio.gather(*(play(stub, sound[: RATE_HZ * 3], 0.01 * n) for n in range(4)))
        before, begun = child.cpu_seconds(), time.monotonic()
        played = await asyncio.gather(
            *(play(stub, sound, 0.0137 * number) for number in range(count))
        )
        cores = (child.cpu_seconds() - before) / (time.monotonic() - begun)
    return played, cores


def main() -> int:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, storage(Path(name)) as pointed:
        told = {**pointed, "CHORALE_LIVE_PROCESSES": "2"}
        with service("analysis", Path(name), told) as (address, pid):
            child = Child(address, pid)
            played, cores = asyncio.run(measured(child, arguments.streams, arguments.seconds))
    late = np.array([one for noted in played for one in noted.late_ms])
    print(f"{len(played)} streams of {arguments.seconds:g} s, {len(late)} answers")
    print(f"late: median {np.median(late):.0f} ms, 99 % {np.percentile(late, 99):.0f} ms,"
          f" most {late.max():.0f} ms")  # fmt: skip
    print(f"the last answer came {max(one.last_seconds for one in played):.2f} s after the sound")
    print(f"the sender fell behind by {max(one.behind_ms for one in played):.0f} ms at most")
    return report(
        [
            Bound("95 % of answers, behind their sound", float(np.percentile(late, 95)), "ms",
                  _LATENCY_MS_MOST),
            Bound("CPU of all streams", cores, "cores", _CORES_MOST),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
