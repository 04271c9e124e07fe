"""Anything that holds bytes can be put, whole and under its own name."""

import hashlib
import io
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chorale_client import AsyncChorale, DataLossError, RequestError
from chorale_client.sources import opened
from client_songs import song
from loopback import Served, serving

WAV = song(1, frame_count=800_000)  # 3.2 MB: more than one chunk, not a whole number of them


async def _pieces() -> AsyncIterator[bytes]:
    for at in range(0, len(WAV), 123_457):
        yield WAV[at : at + 123_457]


def _pipe() -> io.FileIO:
    reading, writing = os.pipe()

    def fill() -> None:
        with open(writing, "wb") as file:
            file.write(WAV)

    threading.Thread(target=fill).start()
    return open(reading, "rb", buffering=0)


MAKERS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "path as text": str,
    "bytes": lambda _: WAV,
    "bytearray": lambda _: bytearray(WAV),
    "memoryview": lambda _: memoryview(WAV),
    "file object": lambda path: path.open("rb"),
    "file in memory": lambda _: io.BytesIO(WAV),
    "pipe": lambda _: _pipe(),
    "async iterator": lambda _: _pieces(),
    "list of bytes": lambda _: [WAV[:100_000], b"", WAV[100_000:]],
    "generator": lambda _: (WAV[at : at + 99_991] for at in range(0, len(WAV), 99_991)),
}


@pytest.mark.parametrize("kind", MAKERS)
async def test_every_source_arrives_whole(chorale: AsyncChorale, tmp_path: Path, kind: str) -> None:
    """The name is the digest of what the source holds; progress ends at its size."""
    path = tmp_path / "take.wav"
    path.write_bytes(WAV)
    source = MAKERS[kind](path)
    counted: list[tuple[int, int]] = []
    audio = await chorale.put(source, progress=lambda *done: counted.append(done))
    assert audio.name == f"audio/{hashlib.sha256(WAV).hexdigest()}"
    assert counted[-1] == (len(WAV), len(WAV))
    assert counted == sorted(counted)
    if hasattr(source, "close"):
        source.close()


async def test_a_file_is_read_from_where_it_stands(chorale: AsyncChorale) -> None:
    """What was read before the put is not part of it."""
    file = io.BytesIO(b"header" + WAV)
    file.seek(6)
    assert (await chorale.put(file)).size_bytes == len(WAV)


async def test_names_and_descriptions_travel(chorale: AsyncChorale, tmp_path: Path) -> None:
    """A file's own name is remembered unless another is given; title and tags arrive."""
    path = tmp_path / "take one.wav"
    path.write_bytes(WAV)
    audio = await chorale.put(path, title="Take one", tags=["a", "b"])
    assert (audio.file_name, audio.title, list(audio.tags)) == (
        "take one.wav",
        "Take one",
        ["a", "b"],
    )
    assert (await chorale.put(song(2), file_name="other.wav")).file_name == "other.wav"
    with io.FileIO(path) as file:
        async with opened(file) as source:
            assert source.file_name == "take one.wav"


async def test_the_same_bytes_again_cost_nothing(chorale: AsyncChorale, served: Served) -> None:
    """A second put of the same file sends no byte of it."""
    first = await chorale.put(WAV)
    received = served.ingest.received_bytes
    assert (await chorale.put(WAV)).name == first.name
    assert served.ingest.received_bytes == received


@pytest.mark.parametrize("wrong_bytes", [-1, 1])
async def test_a_stream_of_another_size_is_refused(chorale: AsyncChorale, wrong_bytes: int) -> None:
    """A stream that is longer or shorter than announced does not become audio."""
    with pytest.raises(RequestError, match="was said to hold"):
        await chorale.put(_pieces(), size_bytes=len(WAV) + wrong_bytes)


async def test_nothing_is_not_audio(chorale: AsyncChorale, tmp_path: Path) -> None:
    """An empty file is refused before anything is sent, by name."""
    path = tmp_path / "empty.wav"
    path.touch()
    with pytest.raises(RequestError, match=r"empty\.wav is empty"):
        await chorale.put(path)


async def test_what_the_caller_raises_comes_through(chorale: AsyncChorale, tmp_path: Path) -> None:
    """A missing file and a failing iterator are the caller's own exceptions."""

    async def failing() -> AsyncIterator[bytes]:
        yield WAV[:1000]
        raise ZeroDivisionError

    def failing_too() -> Iterator[bytes]:
        yield WAV[:1000]
        raise KeyError

    with pytest.raises(FileNotFoundError):
        await chorale.put(tmp_path / "absent.wav")
    with pytest.raises(ZeroDivisionError):
        await chorale.put(failing(), size_bytes=len(WAV))
    with pytest.raises(KeyError):
        await chorale.put(failing_too())


async def test_what_is_no_source_is_a_type_error(chorale: AsyncChorale) -> None:
    """The message says what put takes."""
    with pytest.raises(TypeError, match="put takes a path"):
        await chorale.put(3)  # type: ignore[arg-type]


async def test_a_file_that_changes_meanwhile_is_not_stored(
    chorale: AsyncChorale, served: Served, tmp_path: Path
) -> None:
    """What is sent is what was announced, or nothing is stored."""
    path = tmp_path / "take.wav"
    path.write_bytes(WAV)
    start = served.ingest.StartUpload

    async def change(request: Any, context: Any) -> Any:
        path.write_bytes(song(99, frame_count=800_000))
        return await start(request, context)

    served.ingest.StartUpload = change  # type: ignore[method-assign]
    async with serving(served.ingest.add_to) as port, AsyncChorale(f"127.0.0.1:{port}") as client:
        with pytest.raises(DataLossError):
            await client.put(path)
    assert served.ingest.audio == {}


async def test_a_stream_is_kept_off_the_memory(tmp_path: Path) -> None:
    """A stream larger than the spool's memory can still be read from any offset."""

    async def large() -> AsyncIterator[bytes]:
        for number in range(40):
            yield bytes([number]) * (1 << 20)

    async with opened(large()) as source:
        assert source.size_bytes == 40 << 20
        assert await source.read(39 << 20, 1 << 20) == b"\x27" * (1 << 20)
        assert await source.read((5 << 20) - 1, 2) == b"\x04\x05"
