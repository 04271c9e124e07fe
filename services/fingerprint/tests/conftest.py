"""Songs made for the tests, seeded so that every run hears the same; and the real ingest."""

import importlib.util
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from chorale_fingerprint.codes import Codes, CodeWriter
from chorale_fingerprint.settings import Settings
from chorale_runtime.settings import load
from minio import Minio

RATE_HZ = 22050
Mono = npt.NDArray[np.float32]
MakeSong = Callable[..., Mono]


@dataclass(frozen=True)
class Surroundings:
    """Where ingest answers, and the settings of what it stands on."""

    address: str
    environment: Mapping[str, str]


@pytest.fixture(scope="session")
def make_song() -> MakeSong:
    """Makes a song by its seed: chords, a melody over them and a drum, `seconds` long."""
    return _song


@pytest.fixture(scope="session")
def codes_of() -> Callable[[Mono], Codes]:
    """Writes the codes of a signal at 22050 Hz."""
    return _codes


def _codes(signal: Mono) -> Codes:
    writer = CodeWriter(RATE_HZ)
    writer.push(signal.astype(np.float32))
    return writer.finish()


@cache
def _song(seed: int, seconds: float = 20.0) -> Mono:
    random = np.random.default_rng(seed)
    beat = round(RATE_HZ * float(random.uniform(0.35, 0.55)))
    count = int(seconds * RATE_HZ) // beat + 1
    scale = np.array([0, 2, 4, 5, 7, 9, 11]) + random.integers(40, 52)
    song = np.zeros(count * beat + RATE_HZ)
    root = 0
    for position in range(count):
        if position % 4 == 0:
            root = int(random.integers(0, 7))
            for step in (0, 2, 4):
                _add(song, position * beat, _tone(scale[(root + step) % 7], 4 * beat, 0.10))
        degree = (root + int(random.integers(0, 7))) % 7
        _add(song, position * beat, _tone(scale[degree] + 12, beat, 0.25))
        _add(song, position * beat, random.standard_normal(beat // 8) * _decay(beat // 8) * 0.1)
    return song[: int(seconds * RATE_HZ)].astype(np.float32)


def _tone(midi: int, frame_count: int, level: float) -> npt.NDArray[np.float64]:
    time = np.arange(frame_count) / RATE_HZ
    frequency_hz = 440.0 * 2.0 ** ((midi - 69) / 12)
    partials = [np.sin(2 * np.pi * n * frequency_hz * time) / n for n in range(1, 6)]
    tone: npt.NDArray[np.float64] = level * np.sum(partials, axis=0) * _decay(frame_count)
    return tone


def _decay(frame_count: int) -> npt.NDArray[np.float64]:
    return np.exp(-3.0 * np.arange(frame_count) / frame_count)


def _add(song: npt.NDArray[np.float64], start: int, sound: npt.NDArray[np.float64]) -> None:
    end = min(len(song), start + len(sound))
    song[start:end] += sound[: end - start]


@pytest.fixture(scope="session")
def ingest(
    postgres_url: str, object_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Surroundings]:
    """The real ingest as a process, with what it and we stand on."""
    if importlib.util.find_spec("chorale_ingest") is None:
        pytest.skip("NOT PROVED: fingerprint needs ingest, which is not set up here")
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    _minio(object_server).make_bucket(bucket_name=bucket)
    announcement = tmp_path_factory.mktemp("ingest") / "announced.json"
    surroundings = {
        "CHORALE_OBJECTS_ENDPOINT": object_server.endpoint,
        "CHORALE_OBJECTS_ACCESS_KEY": object_server.access_key,
        "CHORALE_OBJECTS_SECRET_KEY": object_server.secret_key,
        "CHORALE_OBJECTS_BUCKET": bucket,
    }
    others = {k: v for k, v in os.environ.items() if not k.startswith("CHORALE_")}
    with _database(postgres_url) as url:
        own = {"CHORALE_DATABASE_URL": url, "CHORALE_ANNOUNCE_FILE": str(announcement)}
        process = subprocess.Popen(
            [sys.executable, "-m", "chorale_ingest"], env={**others, **surroundings, **own}
        )
        try:
            yield Surroundings(_announced(announcement, process), surroundings)
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def settings(ingest: Surroundings, postgres_url: str) -> Iterator[Settings]:
    """Settings of a fingerprint beside that ingest, with a database of its own."""
    with _database(postgres_url) as url:
        own = {"CHORALE_DATABASE_URL": url, "CHORALE_INGEST_ADDRESS": ingest.address}
        yield load(Settings, {**ingest.environment, **own})


@contextmanager
def _database(postgres_url: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _minio(server: Any) -> Minio:
    return Minio(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        secure=False,
    )


def _announced(file: Path, process: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        if file.exists() and file.read_text():
            return str(json.loads(file.read_text())["address"])
        assert process.poll() is None, f"ingest ended with status {process.returncode}"
        time.sleep(0.1)
    raise AssertionError("ingest did not announce itself within 60 s")
