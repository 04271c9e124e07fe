"""A shelf of many synthetic recordings, written in bulk as that many enrolments leave it.

Recordings are 3 minutes each: their landmarks are drawn from those of real music, part by part, so
that numbers are as common as there, and lie in the segments that as many enrolments would have
left. Each segment is one transaction and drawn from a seed of its own, so that a folder whose
building was interrupted is built on.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from chorale_fingerprint.landmarks import Landmarks, landmarks, packed_places
from chorale_fingerprint.peaks import TIMES_PER_SECOND, Peaks, PeakWriter
from chorale_fingerprint.store import landmarks as rows
from chorale_runtime.database import Connection, Database

RATE_HZ, SECONDS = 11025, 180
OWNER = "bench"
CODES_PER_RECORDING = 1450
_PATIENT = """SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
    SET LOCAL synchronous_commit = off"""


@dataclass(frozen=True)
class Track:
    """Real sound, and what it is known by."""

    sound: np.ndarray
    peaks: Peaks
    found: Landmarks


def track(path: Path) -> Track:
    """Reads a track and listens to it."""
    sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.asarray(soxr.resample(sound.mean(axis=1), rate_hz, RATE_HZ), np.float32)
    heard = peaks(mono)
    return Track(mono, heard, landmarks(heard))


def peaks(sound: np.ndarray) -> Peaks:
    """The peaks of sound at `RATE_HZ`."""
    writer = PeakWriter(RATE_HZ)
    writer.push(sound)
    return writer.finish()


def landmarks_per_second(tracks: list[Track]) -> float:
    """How many landmarks a second of real music has."""
    return sum(len(each.found) for each in tracks) / sum(
        len(each.sound) / RATE_HZ for each in tracks
    )


async def filled(database: Database, count: int, tracks: list[Track], end: float) -> int:
    """Brings the shelf to `count` recordings, or to as many as fit before `end`; says how many.

    `end` is told by `time.monotonic`.
    """
    shelf = await _shelf(database)
    per_recording = round(landmarks_per_second(tracks) * SECONDS)
    first = 1
    for number, (level, size) in enumerate(_levels(count)):
        async with database.connection() as connection:
            has = await _highest(connection, shelf)
            if has < first + size - 1:
                if time.monotonic() > end:
                    break
                await connection.execute(_PATIENT)
                # Numbers that an interrupted segment took are given out again.
                restart = "SELECT setval(pg_get_serial_sequence('recording', 'id'), %s, false)"
                await connection.execute(restart, (first,))
                await _write_recordings(connection, shelf, size, number, tracks)
                random = np.random.default_rng((7, number))
                made = await asyncio.to_thread(
                    _synthetic, random, tracks, first, size, per_recording
                )
                segment = await rows.new_segment(connection, shelf, level, len(made))
                await rows.write_blocks(connection, segment, made)
                del made
        first += size
    async with database.connection() as connection:
        await connection.execute(_PATIENT)
        await connection.execute("ANALYZE landmark_block")
        await connection.execute(
            "UPDATE shelf SET code_count = %s WHERE id = %s", (first * CODES_PER_RECORDING, shelf)
        )
    return first - 1


async def _shelf(database: Database) -> int:
    async with database.connection() as connection:
        query = """INSERT INTO shelf (owner, code_count) VALUES (%s, 0)
            ON CONFLICT (owner) DO UPDATE SET owner = excluded.owner RETURNING id"""
        row = await (await connection.execute(query, (OWNER,))).fetchone()
    assert row is not None
    return int(row["id"])


async def _highest(connection: Connection, shelf: int) -> int:
    query = """SELECT coalesce(max(id), 0) AS id FROM recording
        WHERE shelf = %s AND title = 'synthetic'"""
    row = await (await connection.execute(query, (shelf,))).fetchone()
    return int(row["id"]) if row is not None else 0


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
    real = np.concatenate([each.found.hashes for each in tracks]).astype(np.int64)
    total = count * per_recording
    tail = 16 * 16 * 20  # inner times and region, as `landmarks` numbers them
    parts = (real // tail * tail, real % tail // 20 * 20, real % 20)
    numbers = np.zeros(total, np.uint32)
    for part in parts:
        numbers += part.astype(np.uint32)[random.integers(0, len(real), total, dtype=np.int32)]
    made = np.empty(total, rows._ROW)
    made["number"] = rows._spread(numbers)
    made["recording"] = np.repeat(np.arange(first, first + count, dtype=np.uint32), per_recording)
    times = random.integers(0, round(SECONDS * TIMES_PER_SECOND), total, dtype=np.int32)
    pitches = random.integers(0, 190, total, dtype=np.int32)
    made["place"] = packed_places(Landmarks(made["number"], times, pitches))
    return made[np.argsort(made["number"])]


async def _write_recordings(
    connection: Connection, shelf: int, count: int, number: int, tracks: list[Track]
) -> None:
    """Rows with real peaks, five tracks after each other, to compare with what was voted for."""
    statement = """INSERT INTO recording (name, owner, shelf, audio, frame_count, sample_rate_hz,
            title, artist, section, is_public, labels, bpm, key, codes, peaks)
        SELECT gen_random_uuid(), %s, %s, 'audio/' || number, %s, 11025, 'synthetic', '', 0, false,
            '{}', 0, '', '', %s FROM generate_series(1, %s) AS number"""
    for start in range(0, count, 2000):
        parts = [tracks[(number + start // 2000 + at) % len(tracks)].peaks for at in range(5)]
        step = round(SECONDS / 5 * TIMES_PER_SECOND)
        packed = Peaks(
            np.concatenate([each.times + at * step for at, each in enumerate(parts)]),
            np.concatenate([each.pitches for each in parts]),
            np.concatenate([each.strengths for each in parts]),
        ).packed()
        values = (OWNER, shelf, SECONDS * RATE_HZ, packed, min(2000, count - start))
        await connection.execute(statement, values)
