"""What sound costs on its way in and out, beside FFmpeg, libsndfile, librosa and bare gRPC.

In one run, in turns: the CPU of storing a 4-minute MP3 against `ffmpeg -i in -f f32le`; decoding
against `soundfile` and `librosa.load`; reading frames against a bare gRPC stream; the first
frames of minute 50 of an hour against those of minute 0.
"""

import asyncio
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import librosa
import numpy as np
import soundfile
from chorale.ingest.v1 import ingest_service_pb2_grpc, reading_pb2
from chorale_ingest.decoding import Block, Decoding, interleaved
from chorale_ingest.samples import canonical
from chorale_runtime import memory

from bench import sounds
from bench.children import Child, cpu_seconds_of_ended, in_turns, serving
from bench.ratios import Ratio, report
from bench.storage import OPTIONS, Ingest, ingest_alone, store, stub_of

SONG_SECONDS, SHORT_SECONDS, ROUNDS = 240.0, 30.0, 7
READ_MEBIBYTES = 80
RATE_HZ = sounds.RATE_HZ


def main() -> int:
    """Measure all and report."""
    memory.keep_at_hand()
    song = sounds.music(SONG_SECONDS)
    missed = report(decoding(song))
    with ingest_alone() as ours, serving("bench.servers", "bare") as bare:
        return asyncio.run(_served(ours, bare, sounds.encoded(song, "mp3"))) or missed


def decoding(song: Any) -> list[Ratio]:
    """Decode every format that they share, in this process."""
    figures = []
    for name in sounds.FORMATS:
        rate = 48_000 if name == "opus" else RATE_HZ
        data = sounds.encoded(song[: int(SHORT_SECONDS * RATE_HZ)], name, rate)
        with tempfile.NamedTemporaryFile(suffix=f".{name.removesuffix('24')}") as file:
            file.write(data)
            file.flush()
            contenders: dict[str, Callable[[], Any]] = {
                "ours": partial(_decoded, data, Alone),
                "with overview and peak": partial(_decoded, data, Decoding),
                "soundfile": partial(_by_soundfile, data),
                "librosa": partial(librosa.load, file.name, sr=None, mono=False),
            }
            spent: dict[str, list[float]] = {each: [] for each in contenders}
            for act in contenders.values():
                act()
            for each in in_turns(ROUNDS, tuple(contenders)):
                begun = time.process_time()
                contenders[each]()
                spent[each].append((time.process_time() - begun) * 1000)
        figures += [
            Ratio(f"decode {name}: CPU / {other}", spent["ours"], spent[other], "ms", at_most=1.0)
            for other in ("soundfile", "librosa")
        ]
        whole = "with overview and peak"
        figures.append(Ratio(f"decode {name}, {whole}", spent[whole], spent["soundfile"], "ms"))
    return figures


class Alone(Decoding):
    """Decodes, as the others do, and neither draws an overview nor looks for the peak."""

    def _block(self, frame: Any) -> Block:
        stored = canonical(interleaved(frame, frame.layout.nb_channels), frame.format.name)
        return Block(stored.tobytes(), b"")


def _by_soundfile(data: bytes) -> None:
    soundfile.read(io.BytesIO(data), dtype="float32")


def _decoded(data: bytes, kind: type[Decoding]) -> None:
    work = kind(io.BytesIO(data), 1e6)
    for _ in work.blocks():
        pass
    work.result()


async def _served(ours: Ingest, bare: Child, mp3: bytes) -> int:
    async with (
        grpc.aio.insecure_channel(ours.address, options=OPTIONS) as channel,
        grpc.aio.insecure_channel(bare.address, options=OPTIONS) as bare_channel,
    ):
        stub = stub_of(channel)
        bare_stub: Any = ingest_service_pb2_grpc.IngestServiceStub(bare_channel)
        return (
            report(await _storing(ours, stub, mp3))
            | report([await _reading(stub, bare_stub)])
            | report([await _seeking(ours, stub)])
        )


async def _storing(ours: Ingest, stub: Any, mp3: bytes) -> list[Ratio]:
    named, measured, theirs = [], [], []
    await store(stub, sounds.tagged(mp3, 0))
    with tempfile.TemporaryDirectory() as name:
        song = Path(name) / "song.mp3"
        song.write_bytes(mp3)
        command = ["ffmpeg", "-v", "error", "-y", "-i", str(song), "-f", "f32le", "/dev/null"]
        for number in range(1, ROUNDS + 1):
            theirs.append(await asyncio.to_thread(cpu_seconds_of_ended, command))
            await _quiet(ours)
            before = ours.cpu_seconds()
            await store(stub, sounds.tagged(mp3, number))
            named.append(ours.cpu_seconds() - before)
            await _quiet(ours)
            measured.append(ours.cpu_seconds() - before)
    return [
        Ratio("4-minute mp3 stored: CPU / ffmpeg", named, theirs, "s", at_most=1.3),
        Ratio("the same with its loudness measured", measured, theirs, "s"),
    ]


async def _quiet(ours: Ingest) -> None:
    """Wait until it has nothing left to do."""
    while True:
        before = ours.cpu_seconds()
        await asyncio.sleep(1.5)
        if ours.cpu_seconds() - before < 0.05:
            return


async def _reading(stub: Any, bare: Any) -> Ratio:
    samples = sounds.music(READ_MEBIBYTES * (1 << 20) / 8 / RATE_HZ)
    audio = await store(stub, sounds.encoded(samples, "wav"))
    speeds: dict[str, list[float]] = {"ours": [], "bare": []}

    async def frames() -> int:
        request = reading_pb2.ReadFramesRequest(audio=audio.name, chunk_bytes=1 << 20)
        return sum([len(each.pcm) async for each in stub.ReadFrames(request)])

    async def bytes_alone() -> int:
        request = reading_pb2.ReadBytesRequest(
            audio=f"audio/{'0' * 64}", offset_bytes=1 << 20, length_bytes=READ_MEBIBYTES << 20
        )
        return sum([len(each.data) async for each in bare.ReadBytes(request)])

    acts = {"ours": frames, "bare": bytes_alone}
    for name in (*acts, *in_turns(ROUNDS, tuple(acts))):
        begun = time.perf_counter()
        size = await acts[name]()
        speeds[name].append(size / (1 << 20) / (time.perf_counter() - begun))
    return Ratio(
        "ReadFrames: speed / bare gRPC",
        speeds["ours"],
        speeds["bare"],
        "MiB/s",
        at_least=0.7,
        typical=max,
    )


async def _seeking(ours: Ingest, stub: Any) -> Ratio:
    quarter = sounds.music(60)
    hour = np.tile(quarter, (60, 1))
    audio = await store(stub, sounds.encoded(hour, "flac"))
    await _quiet(ours)  # its loudness is measured: that reads all of it
    taken: dict[int, list[float]] = {0: [], 50: []}
    for number in range(4 * ROUNDS):
        for minute in (0, 50) if number % 2 else (50, 0):
            request = reading_pb2.ReadFramesRequest(audio=audio.name)
            request.span.start_frame = minute * 60 * RATE_HZ + number
            request.span.frame_count = 4096
            begun = time.perf_counter()
            await _first(stub.ReadFrames(request))
            taken[minute].append((time.perf_counter() - begun) * 1000)
    return Ratio("first frames: minute 50 / minute 0", taken[50], taken[0], "ms", at_most=1.15)


async def _first(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


if __name__ == "__main__":
    try:
        subprocess.run(["ffmpeg", "-version"], check=True, stdout=subprocess.DEVNULL)
    except OSError:
        sys.exit("NOT MEASURED: the yardstick, ffmpeg, is not on PATH.")
    sys.exit(main())
