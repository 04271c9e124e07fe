"""Files made to do harm, and files that are merely odd: the right answer, and the service lives."""

import asyncio
import json
import lzma
import os
import random
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from ingest_testing import Ingest, encoded, noise, refusal_of, song

SECONDS_OFF = 0.08
CASES = 155  # every line of both manifests


async def verdict(ingest: Ingest, data: bytes, name: str) -> tuple[str, Any]:
    """What became of a file: accepted audio, or the refusal."""
    try:
        return "accept", await ingest.store(data, file_name=name[-255:])
    except grpc.aio.AioRpcError as error:
        return "reject", refusal_of(error)


def listening() -> tuple[asyncio.Event, Any]:
    """A canary: whoever connects to it is caught."""
    touched = asyncio.Event()

    async def caught(_: Any, writer: Any) -> None:
        touched.set()
        writer.close()

    return touched, asyncio.start_server(caught, "127.0.0.1", 18080)


@pytest.fixture(scope="module")
def bad(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published hostile files, unpacked."""
    folder = tmp_path_factory.mktemp("bad")
    with lzma.open(testdata / "bad.tar.xz") as packed, tarfile.open(fileobj=packed) as archive:
        archive.extractall(folder, filter="data")
    return folder / "bad"


def _cases(folder: Path) -> Iterator[tuple[str, dict[str, Any], Path]]:
    for name, case in json.loads((folder / "manifest.json").read_text()).items():
        yield case.get("upload_name", name), case, folder / case.get("body", name)


@pytest.mark.slow
async def test_every_published_hostile_file_gets_its_answer(
    ingest: Ingest, bad: Path, testdata: Path
) -> None:
    """Reject, accept or keep what is whole, as the manifests say; nobody is called."""
    touched, starting = listening()
    cases = [*_cases(bad), *_cases(testdata / "bad_extra")]
    assert len(cases) == CASES
    slots = asyncio.Semaphore(4)

    async def wrong(name: str, case: dict[str, Any], path: Path) -> str:
        async with slots:
            caller = ingest.other(tier="free" if case["cat"] == "bomb" else "")
            data = await asyncio.to_thread(path.read_bytes)
            return _problem(case, *await verdict(caller, data, name))

    async with await starting:
        found = await asyncio.gather(*(wrong(*each) for each in cases))
    problems = [f"{case[0]}: {what}" for case, what in zip(cases, found, strict=True) if what]
    assert not problems
    assert not touched.is_set()


def _problem(case: dict[str, Any], outcome: str, told: Any) -> str:
    reasons = {"bomb": {"UNDECODABLE", "AUDIO_TOO_LONG"}}.get(case["cat"], {"UNDECODABLE"})
    if case.get("bytes") == 0 or case["cat"] == "empty":  # refused before there is an upload
        reasons = {"REQUEST_INVALID"}
    if outcome == "reject" and told.reason not in reasons:
        return f"refused with {told.reason}: {told.message}"
    expected = "accept" if case["expect"] == "partial" else case["expect"]
    if expected not in ("either", outcome):
        return f"{outcome}, but {expected} was expected"
    if outcome == "accept" and case["expect"] == "accept" and case.get("seconds"):
        off = abs(told.duration_seconds - case["seconds"])
        if off > SECONDS_OFF:
            return f"lasts {told.duration_seconds} s instead of {case['seconds']} s"
    return ""


@pytest.mark.slow
async def test_bombs_are_stopped_by_the_tier(ingest: Ingest, bad: Path) -> None:
    """Hours of silence in a few bytes end at the tier's length; archives are no sound."""
    bomb = (bad / "bomb_flac_7h_48k.flac").read_bytes()
    outcome, told = await verdict(ingest.other(tier="free"), bomb, "bomb.flac")
    assert (outcome, told.reason) == ("reject", "AUDIO_TOO_LONG")
    for name in ("bomb_gzip_512mb.wav", "bomb_zip.mp3"):
        outcome, told = await verdict(ingest, (bad / name).read_bytes(), name)
        assert (outcome, told.reason) == ("reject", "UNDECODABLE")


def _wave(bits: int, data: bytes, rate: int = 44100, channels: int = 1, tag: int = 1) -> bytes:
    width = channels * bits // 8
    fields = struct.pack("<HHIIHH", tag, channels, rate, rate * width, width, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fields + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(body) + len(data)) + body + data


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("text", b"just some words\n" * 50, "text/plain"),
        ("page", b"<!DOCTYPE html><html></html>", "text/html"),
        ("picture", b"\x89PNG\r\n\x1a\n" + bytes(500), "image/png"),
        ("playlist", b"#EXTM3U\nhttp://127.0.0.1:18080/x.mp3\n", "application/vnd.apple.mpegurl"),
        ("concat", b"ffconcat version 1.0\nfile /etc/passwd\n", "text/x-ffconcat"),
        ("one byte", b"\xff", "application/octet-stream"),
        ("zeros", bytes(100_000), "application/octet-stream"),
        ("nan", _wave(32, np.full(999, np.nan, "<f4").tobytes(), tag=3), "audio/wav"),
        ("huge samples", _wave(32, np.full(999, 1e30, "<f4").tobytes(), tag=3), "audio/wav"),
        ("too slow", _wave(16, bytes(2000), rate=100), "audio/wav"),
        ("too fast", _wave(16, bytes(2000), rate=384_000), "audio/wav"),
        ("too many", _wave(16, bytes(6400), channels=32), "audio/wav"),
    ],
)
async def test_what_is_no_sound_is_undecodable(
    ingest: Ingest, name: str, data: bytes, found: str
) -> None:
    """INVALID_ARGUMENT, saying what it looks like; the name it comes under helps nothing."""
    outcome, told = await verdict(ingest, data, f"{name}.mp3")
    assert (outcome, told.code) == ("reject", grpc.StatusCode.INVALID_ARGUMENT)
    assert (told.reason, told.metadata["found"]) == ("UNDECODABLE", found)
    assert told.metadata["detail"]


async def test_mutated_files_never_harm_the_service(ingest: Ingest) -> None:
    """Seeded damage to real files: each is audio or UNDECODABLE, nothing else."""
    generator = random.Random(7)
    sources = [
        encoded(noise(9000, seed=80), container=container, subtype=subtype)
        for container, subtype in (
            ("WAV", "PCM_24"),
            ("FLAC", "PCM_16"),
            ("OGG", "VORBIS"),
            ("MP3", "MPEG_LAYER_III"),
            ("AIFF", "PCM_16"),
            ("CAF", "ALAC_16"),
        )
    ]
    for round_number in range(24):  # bench/ingest_mutations.py does thousands
        data = bytearray(sources[round_number % len(sources)])
        for _ in range(generator.choice((1, 3, 30))):
            where = generator.randrange(min(len(data), generator.choice((64, 4096, len(data)))))
            data[where] = generator.randrange(256)
        if generator.random() < 0.3:
            del data[generator.randrange(len(data)) :]
        if data:
            outcome, told = await verdict(ingest, bytes(data), "mutant")
            assert outcome == "accept" or told.reason == "UNDECODABLE", told
    assert await ingest.store(song(81))


async def test_nothing_of_an_uploader_touches_the_disk(ingest: Ingest, service: Any) -> None:
    """The service and its decoders hold no temporary files while a file is decoded."""
    data = encoded(noise(44100 * 60, seed=82), container="FLAC")
    storing = asyncio.ensure_future(ingest.store(data))
    opened: set[str] = set()
    while not storing.done():
        opened |= {
            path for path in _open_files(service.pid) if path.startswith("/") and "(" not in path
        }
        await asyncio.sleep(0.02)
    await storing
    written = {path for path in opened if not path.startswith(("/dev/", "/proc/"))}
    assert {path for path in written if "tmp" in path and not path.endswith("log")} == set()


def _open_files(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    for number in os.listdir(folder):
        try:
            yield os.readlink(f"{folder}/{number}")
        except OSError:
            continue
