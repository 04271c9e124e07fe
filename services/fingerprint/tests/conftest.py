"""Songs made for the tests, seeded so that every run hears the same; and the real ingest."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from chorale_fingerprint.codes import Codes, CodeWriter
from chorale_fingerprint.settings import Settings
from chorale_mesh.objects import EmbeddedObjects
from standing_ingest import Ingest, standing

RATE_HZ = 22050
Mono = npt.NDArray[np.float32]
MakeSong = Callable[..., Mono]


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
def _song(seed: int, seconds: float = 12.0) -> Mono:
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


@lru_cache(maxsize=32)  # a song has 14 tones, and plays each many times
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
    postgres_url: str, object_server: EmbeddedObjects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ingest]:
    """One ingest for all tests of this service."""
    if importlib.util.find_spec("chorale_ingest") is None:
        pytest.skip("NOT PROVED: fingerprint listens to named audio, and ingest is not set up here")
    with standing(postgres_url, object_server, tmp_path_factory.mktemp("ingest")) as standing_one:
        yield standing_one


@pytest.fixture(scope="session")
def settings(ingest: Ingest) -> Settings:
    """Settings of a fingerprint beside that ingest."""
    return Settings(**ingest.settings())  # type: ignore[arg-type]  # rows of the right types
