"""How long a query of 10 s takes among many recordings, and how much room they take.

`python -m bench.fingerprint_scale [COUNT...]`, by default 1000 and 10000; 100000 takes a quarter of
an hour and 10 GB of disk. Recordings are 3 minutes each: their landmarks are drawn from those of
real music, part by part, so that numbers are as common as there, and lie in the segments that as
many enrolments would have left. Among them are real tracks; excerpts of those are asked for.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import soundfile
import soxr
from chorale_fingerprint.landmarks import Landmarks, landmarks, packed_places
from chorale_fingerprint.peaks import TIMES_PER_SECOND, Peaks, PeakWriter
from chorale_fingerprint.servicer.searching import Searcher
from chorale_fingerprint.store import landmarks as rows
from chorale_fingerprint.store.recordings import Enrolled, Recording, Store, Stretch
from chorale_mesh.postgres import EmbeddedPostgres
from chorale_runtime.database import Database

TESTDATA = Path(__file__).parents[2] / "shared" / "testdata"
RATE_HZ, SECONDS = 11025, 180
OWNER, ROUNDS = "bench", 3
# The goal is for 100k; what is smaller must not take longer.
GOAL_SECONDS = 0.1


@dataclass(frozen=True)
class Track:
    """Real sound, and what it is known by."""

    sound: np.ndarray
    peaks: Peaks
    found: Landmarks


def main(counts: list[int]) -> int:
    """Prints a row for each count; 1 when a goal is missed."""
    if not (TESTDATA / "fp").is_dir():
        print("NOT MEASURED: there is no test material")
        return 0
    tracks = [_track(path) for path in sorted((TESTDATA / "fp").glob("*.ogg"))]
    typical = [asyncio.run(_measured(count, tracks)) for count in counts]
    return 1 if max(typical) > GOAL_SECONDS else 0


async def _measured(count: int, tracks: list[Track]) -> float:
    files = resources.files("chorale_fingerprint") / "migrations"
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        async with Database.open(postgres.url, "fingerprint", files) as database:
            store = Store(database)
            shelf = await _shelf(database)
            await _enrol_synthetic(database, shelf, count, tracks)
            for number, track in enumerate(tracks):
                await _enrol(store, track, number)
            return await _told(database, store, count, tracks, Path(folder))


async def _told(
    database: Database, store: Store, count: int, tracks: list[Track], folder: Path
) -> float:
    searcher = Searcher(store, 600)
    walls: dict[str, list[float]] = {"clean": [], "10 dB of noise": []}
    right = dict.fromkeys(walls, 0)
    ours, theirs = time.process_time(), _postgres_seconds(folder)
    shelves = await store.shelves(OWNER)
    for _ in range(ROUNDS):
        for number, track in enumerate(tracks):
            for name, query in _queries(track, number):
                started = time.perf_counter()
                hits = await searcher.by_landmarks(asyncio.to_thread, query, shelves)
                walls[name].append(time.perf_counter() - started)
                right[name] += bool(hits) and hits[0].enrolled.recording.title == str(number)
    asked = sum(map(len, walls.values()))
    ours, theirs = time.process_time() - ours, _postgres_seconds(folder) - theirs
    async with database.connection() as connection:
        cursor = await connection.execute(
            """SELECT pg_total_relation_size('landmark_block') AS blocks,
                (SELECT count(*) FROM landmark_segment) AS segments,
                (SELECT sum(landmark_count) FROM landmark_segment) AS landmarks"""
        )
        size = await cursor.fetchone()
    assert size is not None
    minutes = float(size["landmarks"] or 1) / _per_second(tracks) / 60
    for name, times in walls.items():
        p50, p95 = (1000 * float(np.quantile(times, q)) for q in (0.5, 0.95))
        known = right[name] / len(times)
        print(
            f"{count:7} recordings, {name:15}: p50 {p50:6.1f} ms, p95 {p95:6.1f} ms,"
            f" named {known:.3f} of {len(times)}"
        )
    print(
        f"{count:7} recordings: CPU a query {1000 * ours / asked:.1f} ms here and"
        f" {1000 * theirs / asked:.1f} ms in PostgreSQL (writing peaks of the query included)"
    )
    print(
        f"{count:7} recordings: {size['segments']} segments, {size['blocks'] / 2**20:.0f} MiB,"
        f" {size['blocks'] / minutes / 1024:.1f} KiB of index a minute"
    )
    return statistics.median(walls["clean"])


def _queries(track: Track, number: int) -> Iterator[tuple[str, Peaks]]:
    clip = track.sound[10 * RATE_HZ : 20 * RATE_HZ]
    noise = np.random.default_rng(number).standard_normal(len(clip)).astype(np.float32)
    yield "clean", _peaks(clip)
    yield "10 dB of noise", _peaks(clip + noise * clip.std() * np.float32(10**-0.5))


def _postgres_seconds(folder: Path) -> float:
    """CPU seconds of the server's processes, from what Linux tells; 0 elsewhere."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(folder.resolve()):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            continue  # it ended, or is not ours to look at
    return ticks / os.sysconf("SC_CLK_TCK")


async def _shelf(database: Database) -> int:
    async with database.connection() as connection:
        query = "INSERT INTO shelf (owner, code_count) VALUES (%s, 0) RETURNING id"
        row = await (await connection.execute(query, (OWNER,))).fetchone()
    assert row is not None
    return int(row["id"])


async def _enrol_synthetic(database: Database, shelf: int, count: int, tracks: list[Track]) -> None:
    """Recordings and segments as that many enrolments leave them."""
    await _write_recordings(database, shelf, count, tracks)
    random = np.random.default_rng(7)
    per_recording = round(_per_second(tracks) * SECONDS)
    first = 1
    for level, size in _levels(count):
        made = await asyncio.to_thread(_synthetic, random, tracks, first, size, per_recording)
        async with database.connection() as connection:
            segment = await rows.new_segment(connection, shelf, level, len(made))
            for start, end in rows._parts(len(made)):
                low, high = np.searchsorted(made["number"], [start, min(end, 2**32 - 1)])
                part = made[low : len(made) if end == 1 << 32 else high]
                await rows.write_blocks(connection, segment, part)
        first += size
    async with database.connection() as connection:
        await connection.execute("ANALYZE landmark_block")


def _levels(count: int) -> Iterator[tuple[int, int]]:
    """Segments by level and recordings, largest first; a rest smaller than one is left out."""
    level = 6
    while level:
        size = rows.FRESH_MAX * rows.FANOUT ** (level - 1)
        for _ in range(count // size):
            yield level, size
        count, level = count % size, level - 1


def _synthetic(
    random: np.random.Generator, tracks: list[Track], first: int, count: int, per_recording: int
) -> np.ndarray:
    """Landmarks of so many recordings: intervals of one real figure, times of another."""
    real = np.concatenate([track.found.hashes for track in tracks]).astype(np.int64)
    total = count * per_recording
    tail = 16 * 16 * 20  # inner times and region, as `landmarks` numbers them
    one, other, third = (random.integers(0, len(real), total, dtype=np.int32) for _ in range(3))
    numbers = real[one] // tail * tail + real[other] % tail // 20 * 20 + real[third] % 20
    made = np.empty(total, rows._ROW)
    made["number"] = rows._spread(numbers.astype(np.uint32))
    made["recording"] = np.repeat(np.arange(first, first + count, dtype=np.uint32), per_recording)
    times = random.integers(0, round(SECONDS * TIMES_PER_SECOND), total, dtype=np.int32)
    pitches = random.integers(0, 190, total, dtype=np.int32)
    made["place"] = packed_places(Landmarks(made["number"], times, pitches))
    return made[np.argsort(made["number"], kind="stable")]


async def _write_recordings(
    database: Database, shelf: int, count: int, tracks: list[Track]
) -> None:
    """Rows with real peaks, five tracks after each other, to compare with what was voted for."""
    statement = """INSERT INTO recording (name, owner, shelf, audio, frame_count, sample_rate_hz,
            title, artist, section, is_public, labels, bpm, key, codes, peaks)
        SELECT gen_random_uuid(), %s, %s, 'audio/' || number, %s, 11025, 'synthetic', '', 0, false,
            '{}', 0, '', '', %s FROM generate_series(1, %s) AS number"""
    for start in range(0, count, 2000):
        parts = [tracks[(start // 2000 + step) % len(tracks)].peaks for step in range(5)]
        step = round(SECONDS / 5 * TIMES_PER_SECOND)
        peaks = Peaks(
            np.concatenate([each.times + number * step for number, each in enumerate(parts)]),
            np.concatenate([each.pitches for each in parts]),
            np.concatenate([each.strengths for each in parts]),
        ).packed()
        values = (OWNER, shelf, SECONDS * RATE_HZ, peaks, min(2000, count - start))
        async with database.connection() as connection:
            await connection.execute(statement, values)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE shelf SET code_count = %s WHERE id = %s", (count * 1450, shelf)
        )


async def _enrol(store: Store, track: Track, number: int) -> None:
    audio = f"audio/{number:064x}"
    frames = len(track.sound)
    recording = Recording(uuid.uuid4(), OWNER, audio, frames, RATE_HZ, title=str(number))
    enrolled = Enrolled(recording, np.zeros(0, np.uint32), peaks=track.peaks)
    await store.add(enrolled, Stretch(audio, 0, frames), await store.shelves(OWNER))


def _track(path: Path) -> Track:
    sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.asarray(soxr.resample(sound.mean(axis=1), rate_hz, RATE_HZ), np.float32)
    peaks = _peaks(mono)
    return Track(mono, peaks, landmarks(peaks))


def _peaks(sound: np.ndarray) -> Peaks:
    writer = PeakWriter(RATE_HZ)
    writer.push(sound)
    return writer.finish()


def _per_second(tracks: list[Track]) -> float:
    return sum(len(each.found) for each in tracks) / sum(
        len(each.sound) / RATE_HZ for each in tracks
    )


if __name__ == "__main__":
    sys.exit(main([int(each) for each in sys.argv[1:]] or [1000, 10000]))
