"""Every replica of every service is replaced, one by one, while clients work.

Two processes of each service behind one list of addresses. Clients look, read, upload, analyse,
recognise and master all the while; first nothing happens, then SIGTERM, drain and a new process,
ten times. No call and no operation may fail, and p99 may at most double.

As in a cluster, the next one is replaced some seconds after the last is ready (the chart's
`minReadySeconds`). Unlike there, a new process starts on the very processors that answer the calls.
"""

import asyncio
import io
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from chorale.analysis.v1 import harmony_pb2
from chorale.fingerprint.v1 import recordings_pb2
from chorale.mastering.v1 import loudness_pb2, master_pb2
from chorale_client import AsyncChorale
from chorale_mesh.demo.song import compose

from bench.ratios import Bound, Ratio, report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from replicas import Replicas, replicated  # the tests replace them as well

SERVICES = ("ingest", "analysis", "fingerprint", "mastering", "generation")
# Two processors carry ten services and the clients: each service computes in one process.
SETTINGS = {f"{name}.processes": "1" for name in SERVICES[1:]}
SECONDS = 6.0
QUIET_SECONDS = 40.0
SETTLE_SECONDS = 10.0
CALL_SECONDS, OPERATION_SECONDS = 30.0, 120.0
# Steps of one call; the others are operations, of seconds each.
CALLS = ("look", "engines", "read", "upload")


@dataclass
class Ledger:
    """What the clients saw: how long each step took, and what failed."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: Counter[str] = field(default_factory=Counter)
    started: int = 0
    ended: int = 0

    async def time(self, kind: str, step: Awaitable[Any]) -> Any:
        """Waits for a step and notes how long it took, or how it failed."""
        begun = time.perf_counter()
        try:
            answer = await step
        except Exception as error:
            self.failures[f"{kind}: {type(error).__name__} {error}"] += 1
            return None
        self.seconds[kind].append(time.perf_counter() - begun)
        return answer

    def p99_ms(self, kinds: Sequence[str]) -> float:
        """Of all steps of these kinds."""
        found = [seconds for kind in kinds for seconds in self.seconds[kind]]
        return float(np.percentile(found, 99)) * 1000


class Clients:
    """Clients that work until they are told to stop; whose ledger is written may change."""

    def __init__(self, chorale: AsyncChorale) -> None:
        self._chorale, self._stop = chorale, asyncio.Event()
        self._song, self._random = compose(7), np.random.default_rng(7)
        self._frames = int(SECONDS * self._song.rate_hz)
        self.ledger = Ledger()

    async def work(self, song: str) -> None:
        """Runs every client until `stop`."""
        clients: list[tuple[Callable[[], Awaitable[None]], float]] = [
            *[(lambda: self._look(song), 0.1)] * 4,
            *[(lambda: self._read(song), 0.3)] * 2,
            (self._engines, 0.3),
            *[(self._journey, 0.5)] * 2,
        ]
        await asyncio.gather(*(self._again(step, pause) for step, pause in clients))

    def stop(self) -> None:
        """No further step is begun."""
        self._stop.set()

    async def put(self) -> str:
        """Uploads a song that nobody has heard before."""
        begin = self._random.integers(len(self._song.signal) - self._frames)
        excerpt = self._song.signal[begin : begin + self._frames] * self._random.uniform(0.5, 1)
        file = io.BytesIO()
        soundfile.write(file, excerpt, self._song.rate_hz, format="WAV", subtype="PCM_16")
        return (await self._chorale.put(file.getvalue(), timeout_seconds=CALL_SECONDS)).name

    async def _again(self, step: Callable[[], Awaitable[None]], pause_seconds: float) -> None:
        while not self._stop.is_set():
            await step()
            await asyncio.sleep(pause_seconds)

    async def _look(self, song: str) -> None:
        await self.ledger.time("look", self._chorale.info(song))

    async def _engines(self) -> None:
        for service in SERVICES:
            await self.ledger.time("engines", self._chorale.engines(service))

    async def _read(self, song: str) -> None:
        async def read() -> None:
            chunks = self._chorale.read_frames(song, timeout_seconds=CALL_SECONDS)
            frames = sum([chunk.frame_count async for chunk in chunks])
            if frames != self._frames:
                raise ValueError(f"{frames} frames were read")

        await self.ledger.time("read", read())

    async def _journey(self) -> None:
        song = await self.ledger.time("upload", self.put())
        if song is None:
            return
        chorale = self._chorale
        asked = {"audio": song}
        for kind, rpc, request, answer in (
            (
                "key",
                chorale.analysis.DetectKey,
                harmony_pb2.DetectKeyRequest,
                harmony_pb2.DetectKeyResponse,
            ),
            (
                "enroll",
                chorale.fingerprint.Enroll,
                recordings_pb2.EnrollRequest,
                recordings_pb2.EnrollResponse,
            ),
            (
                "identify",
                chorale.fingerprint.Identify,
                recordings_pb2.IdentifyRequest,
                recordings_pb2.IdentifyResponse,
            ),
            (
                "loudness",
                chorale.mastering.MeasureLoudness,
                loudness_pb2.MeasureLoudnessRequest,
                loudness_pb2.MeasureLoudnessResponse,
            ),
            (
                "master",
                chorale.mastering.Master,
                master_pb2.MasterRequest,
                master_pb2.MasterResponse,
            ),
        ):
            await self.ledger.time(
                kind, self._operate(rpc, request(**asked, request_id=str(uuid.uuid4())), answer)
            )

    async def _operate(self, rpc: Any, request: Any, answer: Any) -> None:
        operation = await self._chorale.start(rpc, request, answer)
        ledger = self.ledger
        ledger.started += 1
        await operation.result(timeout_seconds=OPERATION_SECONDS)
        ledger.ended += 1


async def _measure(state: Path) -> int:
    async with replicated(state, SERVICES, settings=SETTINGS) as mesh, mesh.client() as chorale:
        clients = Clients(chorale)
        song = await clients.put()
        working = asyncio.create_task(clients.work(song))
        await asyncio.sleep(15.0)  # warms up: the first of everything is slow
        quiet = clients.ledger = Ledger()
        await asyncio.sleep(QUIET_SECONDS)
        rolling = clients.ledger = Ledger()
        statuses = await _roll(mesh)
        clients.stop()
        await working
        return _told(quiet, rolling, statuses)


async def _roll(mesh: Replicas) -> list[tuple[str, int]]:
    begun = time.monotonic()
    statuses = await mesh.replace_all(SETTLE_SECONDS)
    print(f"     {len(statuses)} replicas were replaced in {time.monotonic() - begun:.0f} s")
    return statuses


def _told(quiet: Ledger, rolling: Ledger, statuses: list[tuple[str, int]]) -> int:
    for kind in sorted(rolling.seconds):
        medians = [1000 * statistics.median(each.seconds[kind] or [0]) for each in (quiet, rolling)]
        p99s = [each.p99_ms([kind]) if each.seconds[kind] else 0 for each in (quiet, rolling)]
        print(
            f"     {kind:9} {len(quiet.seconds[kind]):5}, {len(rolling.seconds[kind]):5} times;"
            f" median {medians[0]:7.1f} -> {medians[1]:7.1f} ms,"
            f" p99 {p99s[0]:7.1f} -> {p99s[1]:7.1f} ms"
        )
    for failure, count in (quiet.failures + rolling.failures).most_common():
        print(f"     failed {count}x: {failure}")
    return report(
        [
            Bound("calls and operations that failed", rolling.failures.total(), "", 0),
            Bound("operations lost", rolling.started - rolling.ended, "", 0),
            Bound("processes that had to be killed", sum(code != 0 for _, code in statuses), "", 0),
            Ratio(
                "p99 of calls, rolling / quiet",
                [rolling.p99_ms(CALLS)],
                [quiet.p99_ms(CALLS)],
                "ms",
                2.0,
            ),
        ]
    )


def main() -> int:
    """Measures and reports."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
