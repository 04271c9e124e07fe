"""Damaged copies of real files, seeded, for as long as is asked: each is audio or a refusal.

    python -m bench.ingest_mutations --minutes 30 --seed 1

Ends with 1 when the service crashed, answered anything but audio, UNDECODABLE or
AUDIO_TOO_LONG, took longer than its limits for one file, or left a decoder or an upload behind.
The number of a case and the seed say which bytes it was.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from typing import Any

import grpc
import psutil
from google.rpc import error_details_pb2, status_pb2

from bench import sounds
from bench.storage import OPTIONS, Ingest, ingest_alone, store, stub_of

AT_ONCE = 4
LONGEST_SECONDS = 90.0  # CPU limit of a file and its turn in the queue, on a busy machine
MEMORY_MEBIBYTES = 1500.0  # service, nursery and two decoders at their limit
LEFT_SECONDS = 10.0  # measuring a second of sound takes a fraction of it
FINE = {"audio", "UNDECODABLE", "AUDIO_TOO_LONG"}
BLOCKS = (1, 4, 188, 2048)


def sources() -> list[bytes]:
    """What is damaged: a second in every format."""
    second = sounds.music(1.0)
    made = [sounds.encoded(second, name) for name in sounds.FORMATS if name != "opus"]
    return [*made, sounds.encoded(second, "opus", 48_000), sounds.aac(second)]


def mutant(files: list[bytes], seed: int, number: int) -> bytes:
    """One damaged file; the same for the same seed and number."""
    chance = random.Random(f"{seed}/{number}")
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice((1, 1, 2, 5, 30))):
        # Heads and tables are where it hurts.
        reach = chance.choice((48, 512, 4096, len(data)))
        where = chance.randrange(max(1, min(len(data), reach)))
        size = chance.choice(BLOCKS)
        kind = chance.randrange(6)
        if kind == 0:
            data[where] = chance.randrange(256)
        elif kind == 1:
            data[where] ^= 1 << chance.randrange(8)
        elif kind == 2:
            data[where : where + 4] = chance.choice(
                (b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff")
            )
        elif kind == 3:
            del data[where : where + size]
        elif kind == 4:
            data[where:where] = data[where : where + size]
        else:
            other = chance.choice(files)
            start = chance.randrange(len(other))
            data[where : where + size] = other[start : start + size]
        if not data:
            return b"\0"
    return bytes(data[: chance.randrange(1, len(data) + 1)] if chance.random() < 0.2 else data)


async def fuzz(running: Ingest, minutes: float, seed: int) -> list[str]:
    """Send until the time is over; returns what went wrong."""
    files, said, wrong = sources(), Counter[str](), list[str]()
    end, numbers, peak = time.monotonic() + 60 * minutes, iter(range(1 << 40)), 0.0

    async def send(stub: Any) -> None:
        nonlocal peak
        while time.monotonic() < end and len(wrong) < 20:
            number = next(numbers)
            begun = time.monotonic()
            answer = await _answer(stub, mutant(files, seed, number))
            said[answer] += 1
            if answer not in FINE:
                wrong.append(f"case {number} of seed {seed}: {answer}")
            if time.monotonic() - begun > LONGEST_SECONDS:
                wrong.append(f"case {number} of seed {seed}: {time.monotonic() - begun:.0f} s")
            if number % 50 == 0:
                peak = max(peak, _memory_mebibytes(running.pid))

    async with grpc.aio.insecure_channel(running.address, options=OPTIONS) as channel:
        await asyncio.gather(*(send(stub_of(channel)) for _ in range(AT_ONCE)))
        await store(stub_of(channel), files[0])  # it still does what it is for
    print(f"{sum(said.values())} files: {dict(said.most_common())}; peak {peak:.0f} MiB")
    if peak > MEMORY_MEBIBYTES:
        wrong.append(f"{peak:.0f} MiB were held; at most {MEMORY_MEBIBYTES:.0f} may be")
    before = _decoders(running.pid)
    await asyncio.sleep(LEFT_SECONDS)
    left = before & _decoders(running.pid)
    if left:
        wrong.append(f"{len(left)} decoders were left behind")
    return wrong


def _decoders(pid: int) -> set[int]:
    """What the nursery gave birth to; loudness is still measured by short-lived ones."""
    nurseries = psutil.Process(pid).children()
    return {child.pid for each in nurseries for child in each.children()}


async def _answer(stub: Any, data: bytes) -> str:
    try:
        await store(stub, data)
    except grpc.aio.AioRpcError as error:
        status, info = status_pb2.Status(), error_details_pb2.ErrorInfo()
        trailers: Any = error.trailing_metadata() or ()
        for key, value in trailers:
            if key == "grpc-status-details-bin":
                status.ParseFromString(value)
        for detail in status.details:
            if detail.Unpack(info):
                # The same damaged bytes again, by chance, are no fault.
                return "audio" if info.reason == "AUDIO_EXISTS" else info.reason
        return f"{error.code().name}: {error.details()}"
    return "audio"


def _memory_mebibytes(pid: int) -> float:
    total = 0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / (1 << 20)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with ingest_alone() as running:
        wrong = asyncio.run(fuzz(running, asked.minutes, asked.seed))
        if not psutil.pid_exists(running.pid):
            wrong.append("the service is gone")
    print("\n".join(wrong) or "nothing went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
