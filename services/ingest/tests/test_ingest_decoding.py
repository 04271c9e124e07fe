"""What a decoder hands over, and what holds it."""

import asyncio
import io
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio
import soundfile
from chorale_ingest.decoded import AudioTooLong, Decoded, Undecodable
from chorale_ingest.worker import confinement
from chorale_ingest.worker.births import Child, DecoderLost
from chorale_ingest.worker.decoders import Decoders, Listening
from ingest_testing import encoded, noise

MEMORY_BYTES = 256 << 20
LINKS = (30_000, 50_000, 70_001)

one_loop = pytest.mark.asyncio(loop_scope="module")  # and one process that decoders are born of


class File:
    """Bytes in memory, as a source."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size_bytes = len(data)

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Read."""
        return self._data[offset_bytes : offset_bytes + length_bytes]


class Sink:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def pcm(self, data: bytes) -> None:
        """Take frames."""
        self.data += data

    async def points(self, data: bytes) -> None:
        """Take points."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    """Decoders with the service's own limits."""
    async with Decoders.open(2, 100, 30, MEMORY_BYTES, 20.0) as decoders:
        yield decoders


async def decode(decoders: Decoders, data: bytes, limit_seconds: float = 60) -> tuple[Decoded, Any]:
    """Decode a file to an array of (frames, channels)."""
    sink = Sink()
    decoded = await decoders.decode(File(data), sink, limit_seconds)
    dtype = "<i2" if decoded.encoding == "s16le" else "<f4"
    return decoded, np.frombuffer(sink.data, dtype).reshape(-1, decoded.channel_count)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_32"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("WAVEX", "PCM_24"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AIFF", "PCM_24"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
        ("CAF", "ALAC_16"),
        ("FLAC", "PCM_S8"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
    ],
)
@one_loop
async def test_lossless_formats_are_bit_exact(
    decoders: Decoders, container: str, subtype: str
) -> None:
    """Every sample equals what another decoder reads, and lengths agree to the frame."""
    data = encoded(noise(50_003, 2, seed=90), 48000, container, subtype)
    truth, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    decoded, found = await decode(decoders, data)
    scale = 32768 if decoded.encoding == "s16le" else 1
    assert np.array_equal(found.astype(np.float32) / np.float32(scale), truth)
    assert (decoded.sample_rate_hz, decoded.frame_count) == (rate, 50_003)
    depths = {"U8": 8, "S8": 8, "16": 16, "24": 24, "32": 32, "FLOAT": 32, "DOUBLE": 64}
    assert decoded.bit_depth == depths[subtype.removeprefix("PCM_").removeprefix("ALAC_")]
    assert decoded.encoding == ("s16le" if decoded.bit_depth <= 16 else "f32le")


@pytest.mark.parametrize(
    ("container", "subtype", "tolerance"),
    [("OGG", "VORBIS", 2e-6), ("MP3", "MPEG_LAYER_III", 1e-5), ("OGG", "OPUS", 2e-3)],
)
@one_loop
async def test_lossy_formats_agree_with_another_decoder(
    decoders: Decoders, container: str, subtype: str, tolerance: float
) -> None:
    """Encoder delay and padding are gone: frame counts and samples are the other decoder's."""
    seconds = np.arange(48000 * 3) / 48000
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds))[:, np.newaxis].repeat(2, axis=1)
    data = encoded(tone, 48000, container, subtype)
    truth, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    decoded, found = await decode(decoders, data)
    assert decoded.encoding == "f32le"
    assert len(found) == len(truth) == len(tone)
    assert np.abs(found - truth).max() < tolerance


# Lengths whose last page, packet or block is whole, nearly empty, or the only one.
@pytest.mark.parametrize("frame_count", [1000, 22067, 44100, 46080])
@one_loop
async def test_nothing_is_left_of_what_encoders_add(decoders: Decoders, frame_count: int) -> None:
    """As many frames come out of AAC, MP3, Opus and Vorbis as went in."""
    samples = noise(frame_count, 2, seed=frame_count) // 8
    files = {
        "mp3": encoded(samples, 48000, "MP3", "MPEG_LAYER_III"),
        "ogg": encoded(samples, 48000, "OGG", "VORBIS"),
        "opus": encoded(samples, 48000, "OGG", "OPUS"),
        "m4a": remuxed(samples, "ipod", "aac"),
        "webm": remuxed(samples, "webm", "libopus"),
    }
    found = {name: (await decode(decoders, data))[0].frame_count for name, data in files.items()}
    assert found == dict.fromkeys(files, frame_count)


@one_loop
async def test_a_chained_ogg_is_whole_and_without_seams(decoders: Decoders) -> None:
    """Of Vorbis files one after the other, each gives its own frames, to the sample."""
    links = [encoded(noise(size, 2, seed=size) // 8, 44100, "OGG", "VORBIS") for size in LINKS]
    decoded, found = await decode(decoders, b"".join(links))
    alone = [(await decode(decoders, link))[1] for link in links]
    assert [len(each) for each in alone] == list(LINKS)
    assert decoded.frame_count == sum(LINKS)
    assert np.array_equal(found, np.concatenate(alone))


def remuxed(samples: Any, container_name: str, codec: str) -> bytes:
    """Samples as an encoder of FFmpeg makes them, with the padding it needs."""
    file = io.BytesIO()
    with av.open(file, "w", format=container_name) as container:
        stream: Any = container.add_stream(codec, rate=48000)
        stream.codec_context.layout = "stereo"
        size = 960 if codec == "libopus" else 1024
        for start in range(0, len(samples), size):
            block = samples[start : start + size].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = 48000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@one_loop
async def test_a_file_whose_index_is_at_the_end_is_read(decoders: Decoders) -> None:
    """An m4a keeps its tables behind the sound; decoding seeks there and back."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        tone = (np.sin(np.arange(44100 * 2) / 20) * 0.5).astype(np.float32)[np.newaxis]
        for start in range(0, tone.shape[1], 1024):
            piece = np.ascontiguousarray(tone[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = file.getvalue()
    assert data.index(b"moov") > data.index(b"mdat")
    decoded, found = await decode(decoders, data)
    assert (decoded.codec, decoded.sample_rate_hz) == ("aac", 44100)
    assert len(found) == tone.shape[1]
    length = min(len(found), tone.shape[1])
    assert np.abs(found[2000 : length - 2000, 0] - tone[0, 2000 : length - 2000]).max() < 0.05


@one_loop
async def test_too_much_sound_is_stopped_where_the_limit_is(decoders: Decoders) -> None:
    """Decoding ends within a batch of the limit, whatever the header says."""
    sink = Sink()
    data = encoded(np.zeros((48000 * 60, 2), np.int16), 48000, "FLAC")
    with pytest.raises(AudioTooLong) as caught:
        await decoders.decode(File(data), sink, 10.0)
    assert caught.value.limit_seconds == 10.0
    assert len(sink.data) <= 12 * 48000 * 4


@one_loop
async def test_cancelling_kills_the_decoder_at_once(decoders: Decoders) -> None:
    """A caller who gives up frees its process; the next file is decoded as ever."""
    data = encoded(np.zeros((48000 * 600, 1), np.int16), 48000, "FLAC")
    for _ in range(3):
        task = asyncio.ensure_future(decoders.decode(File(data), Sink(), 3600))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await decode(decoders, encoded(noise(100))))[0].frame_count == 100
    assert _children() <= 1


def _children() -> int:
    """Processes below the nursery."""
    return sum(len(_processes_of(pid)) for pid in _nurseries())


def _nurseries() -> list[int]:
    """The processes of ours that decoders are born from."""
    return [
        pid
        for pid in _processes_of(os.getpid())
        if b"chorale_ingest.worker.nursery" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def _processes_of(parent: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) == parent:
                        found.append(int(name))
            except OSError:
                continue
    return found


class Broken:
    """A source that fails."""

    size_bytes = 1000

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Fail."""
        raise ConnectionError("storage is away")


@one_loop
async def test_a_failing_source_is_not_blamed_on_the_file(decoders: Decoders) -> None:
    """What storage says is what the caller hears."""
    with pytest.raises(ConnectionError):
        await decoders.decode(Broken(), Sink(), 60)
    assert (await decode(decoders, encoded(noise(100))))[0].frame_count == 100


class Silent:
    """A source that never answers."""

    size_bytes = 1000

    async def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """Wait."""
        await asyncio.sleep(3600)
        return b""


async def test_a_lost_decoder_process_is_replaced() -> None:
    """Killing the process that decoders come from costs one request."""
    others = set(_nurseries())
    async with Decoders.open(2, 100, 30, MEMORY_BYTES, 20.0) as decoders:
        await decode(decoders, encoded(noise(100)))
        (nursery,) = set(_nurseries()) - others
        waiting = asyncio.ensure_future(decoders.decode(Silent(), Sink(), 60))
        await asyncio.sleep(0.2)
        os.kill(nursery, 9)
        waiting.cancel()
        await asyncio.sleep(0.2)
        assert (await decode(decoders, encoded(noise(100))))[0].frame_count == 100


async def listened(*messages: bytes, idle_seconds: float = 5.0) -> Any:
    """What the service makes of a decoder that says this and goes silent."""
    ours, theirs = socket.socketpair()
    leash, their_leash = socket.socketpair()
    leash.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    child = Child(reader, writer, leash)
    for message in messages:
        theirs.sendall(message)
    try:
        return await Listening(child, File(b"x"), Sink(), idle_seconds).run()
    finally:
        theirs.close()
        their_leash.close()
        await child.let_go()


@pytest.mark.parametrize(
    "message",
    [
        b"X\x00\x00\x00\x00",
        b"P\xff\xff\xff\xff",
        b"D\x02\x00\x00\x00{}",
        b"D\x04\x00\x00\x00\xff\xff\xff\xff",
        b"E\x02\x00\x00\x00[]",
        b"E\x01\x00\x00\x00{",
    ],
)
async def test_what_a_decoder_says_is_not_trusted(message: bytes) -> None:
    """Unknown, oversized or malformed messages end the decoding as UNDECODABLE."""
    with pytest.raises(Undecodable):
        await listened(message)


async def test_a_silent_decoder_is_given_up() -> None:
    """One that makes no progress costs its own request, after the idle time."""
    with pytest.raises(Undecodable, match="no progress"):
        await listened(idle_seconds=0.1)


def confined(deed: str, limits: confinement.Limits | None = None) -> int:
    """Fork, lock in, do something, and return the exit code: 7 when it was denied."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            confinement.confine(limits or confinement.Limits(5, MEMORY_BYTES, 60))
            exec(deed)
        except (PermissionError, OSError):
            code = 7
        except MemoryError:
            code = 8
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not confinement.seccomp_available(), reason="no seccomp filter here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        ("pass", 0),
        ("import socket; socket.socket()", 7),
        ("open('/etc/passwd')", 7),
        ("open('/tmp/x', 'w')", 7),
        ("os.fork()", 7),
        ("os.execv('/bin/true', ['true'])", 7),
        ("os.kill(os.getppid(), 0)", 7),
        ("import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_EXEC | mmap.PROT_READ)", 7),
        ("bytearray(1 << 30)", 8),
        ("while True: pass", -9),
    ],
)
def test_a_decoder_can_do_nothing_but_decode(deed: str, expected: int) -> None:
    """No files, sockets, processes or executable memory; memory and time are bounded."""
    limits = confinement.Limits(1, MEMORY_BYTES, 60)
    code = confined(deed, limits)
    assert code in (expected, -24 if expected == -9 else expected)


@one_loop
async def test_the_service_tells_how_decoders_are_held(decoders: Decoders) -> None:
    """What confines them is known once there was one."""
    await decode(decoders, encoded(noise(10)))
    assert decoders.confinement is not None
    assert decoders.confinement.seccomp == confinement.seccomp_available()


def test_lost_decoders_are_temporary() -> None:
    """The caller is told to come again, not that the file is bad."""
    assert DecoderLost("x").retry_after_seconds > 0
