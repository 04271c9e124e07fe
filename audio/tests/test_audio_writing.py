"""Writing made sound, to a real S3 and a real ingest."""

import hashlib
import tracemalloc
from collections.abc import AsyncIterator

import numpy as np
import pytest
import signals
from chorale.engines.v1 import engine_pb2
from chorale_audio.failures import AudioNotFound
from chorale_audio.pcm import encoded
from chorale_audio.reader import AudioReader
from chorale_audio.writer import AudioWriter, Made, MadeNotFinite, NothingMade, made_key
from chorale_runtime.objects import Objects
from signals import Signal
from standing_ingest import Ingest

PROVENANCE = engine_pb2.Provenance(
    engine_requested="auto", engine_used="chorale", engine_version="1", device="cpu"
)


def made(**fields: object) -> Made:
    """What ingest is told of sound made for `local`."""
    return Made(owner="local", provenance=PROVENANCE, **fields)  # type: ignore[arg-type]


async def blocks(sound: Signal, frames: int = 10_000) -> AsyncIterator[Signal]:
    """The sound in pieces."""
    for start in range(0, len(sound), frames):
        yield sound[start : start + frames]


async def staged(objects: Objects) -> list[str]:
    """What lies in the staging area for made sound."""
    return [found.key async for found in objects.list("staging/made/")]


async def test_what_was_made_is_read(
    writer: AudioWriter, reader: AudioReader, ingest: Ingest, objects: Objects
) -> None:
    """Made sound becomes named audio: its digest, its parents, its maker, and its samples."""
    parent = ingest.put(signals.sine(-20, 1))
    sound = signals.noise(2.0, 21)
    audio = await writer.write(
        blocks(sound), 44100, made(parents=[parent.name], file_name="made.wav", title="Made")
    )
    assert audio.name == "audio/" + hashlib.sha256(encoded(sound)).hexdigest()
    assert list(audio.parents) == [parent.name]
    assert audio.provenance.engine_used == "chorale"
    assert (audio.title, audio.frame_count) == ("Made", len(sound))
    assert np.array_equal((await reader.signal(audio.name)).samples, sound)
    assert await staged(objects) == []


async def test_the_same_sound_is_one_audio(writer: AudioWriter) -> None:
    """Writing again, in other pieces, gives the same audio."""
    sound = signals.noise(1.0, 22, 1)
    first = await writer.write(blocks(sound, 1000), 48000, made())
    again = await writer.write(blocks(sound, 777), 48000, made())
    assert first.name == again.name


async def test_nothing_stays_of_what_failed(writer: AudioWriter, objects: Objects) -> None:
    """No frames, NaN, and a maker that breaks: typed, and nothing is left in storage."""
    with pytest.raises(NothingMade):
        await writer.write(blocks(signals.silence(0)), 44100, made())
    bad = signals.noise(1.0, 23)
    bad[30_000, 0] = np.nan
    with pytest.raises(MadeNotFinite) as caught:
        await writer.write(blocks(bad), 44100, made())
    assert caught.value.frame == 30_000

    async def breaking() -> AsyncIterator[Signal]:
        yield signals.noise(1.0, 24)
        raise RuntimeError("the maker broke")

    with pytest.raises(RuntimeError, match="the maker broke"):
        await writer.write(breaking(), 44100, made())
    assert await staged(objects) == []
    assert not await objects.exists(made_key(hashlib.sha256(encoded(bad)).hexdigest()))


async def test_parents_are_the_owners(writer: AudioWriter) -> None:
    """A parent that the owner does not have: AudioNotFound, naming it."""
    unknown = "audio/" + "e" * 64
    with pytest.raises(AudioNotFound) as caught:
        await writer.write(blocks(signals.noise(0.5, 25)), 44100, made(parents=[unknown]))
    assert caught.value.audio == unknown


@pytest.mark.slow
async def test_memory_stays_flat(writer: AudioWriter) -> None:
    """Writing 64 MiB holds at most what a few parts of an upload take."""
    second = signals.noise(1.0, 26)

    async def long() -> AsyncIterator[Signal]:
        for number in range(190):
            yield second * np.float32(1.0 / (number + 1))

    tracemalloc.start()
    try:
        await writer.write(long(), 44100, made())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 << 20
