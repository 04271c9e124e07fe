"""How long a query of 10 s takes among many recordings, and how much room they take.

`python -m bench.fingerprint_scale [COUNT...] [--keep FOLDER] [--minutes N]`, by default 1000 and
10000; 100000 takes 9 GB of disk. With `--keep` the database is left in the folder and built on by
the next run; after `--minutes` nothing more is built, and what there is is measured, and said.
Excerpts of real tracks among the synthetic ones are asked for, and of tracks that are not there.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

# As in the processes that listen: two threads that multiply matrices wait for each other.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import numpy as np
from chorale_fingerprint.servicer.searching import Searcher
from chorale_fingerprint.store.recordings import Enrolled, Recording, Store, Stretch
from chorale_mesh.postgres import EmbeddedPostgres
from chorale_runtime.database import Database

from bench.shelves import OWNER, RATE_HZ, Track, filled, landmarks_per_second, peaks, track

TESTDATA = Path(__file__).parents[2] / "shared" / "testdata"
ROUNDS = 3
# Tracks that are asked for and not there.
STRANGERS = 4
# The goal is for 100k; what is smaller must not take longer.
GOAL_SECONDS = 0.1
KINDS = ("clean", "10 dB of noise", "unknown")


def main() -> int:
    """Prints rows for each count; 1 when a goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("counts", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    asked = parser.parse_args()
    if not (TESTDATA / "fp").is_dir():
        print("NOT MEASURED: there is no test material")
        return 0
    tracks = [track(path) for path in sorted((TESTDATA / "fp").glob("*.ogg"))]
    end = time.monotonic() + 60 * asked.minutes
    typical = [
        asyncio.run(_measured(count, tracks, asked.keep, end)) for count in sorted(asked.counts)
    ]
    return 1 if max(typical) > GOAL_SECONDS else 0


async def _measured(count: int, tracks: list[Track], keep: Path | None, end: float) -> float:
    files = resources.files("chorale_fingerprint") / "migrations"
    with tempfile.TemporaryDirectory() as made:
        # A folder for each count: segments of one are not those of another.
        folder = keep / str(count) if keep else Path(made)
        with EmbeddedPostgres(folder) as postgres:
            async with Database.open(postgres.url, "fingerprint", files) as database:
                store, started = Store(database), time.monotonic()
                await _forget(database, store)
                there = await filled(database, count, tracks, end)
                print(f"{there} of {count} recordings after {time.monotonic() - started:.0f} s")
                for number, each in enumerate(tracks[STRANGERS:], start=STRANGERS):
                    await _enrol(store, each, number)
                return await _told(database, store, there, tracks, folder)


async def _forget(database: Database, store: Store) -> None:
    """Deletes the real tracks that an earlier run enrolled: synthetic ones are to come before."""
    async with database.connection() as connection:
        query = "SELECT name FROM recording WHERE title <> 'synthetic'"
        rows = await (await connection.execute(query)).fetchall()
    for row in rows:
        await store.delete(OWNER, row["name"])


async def _told(
    database: Database, store: Store, count: int, tracks: list[Track], folder: Path
) -> float:
    searcher = Searcher(store, 600)
    walls: dict[str, list[float]] = {kind: [] for kind in KINDS}
    ours, theirs, right = (dict.fromkeys(KINDS, 0.0) for _ in range(3))
    shelves = await store.shelves(OWNER)
    for kind in KINDS:
        for turn in range(ROUNDS + 1):
            if turn == 1:  # the first round reads from disk, and is not counted
                walls[kind].clear()
                right[kind] = 0
                before = time.process_time(), _postgres_seconds(folder)
            for number, sound in _queries(kind, tracks):
                started = time.perf_counter()
                query = peaks(sound)
                hits = await searcher.by_landmarks(_here, query, shelves)
                walls[kind].append(time.perf_counter() - started)
                named = hits[0].enrolled.recording.title if _is_sure(hits) else ""
                right[kind] += named == ("" if kind == "unknown" else str(number))
        ours[kind] = time.process_time() - before[0]
        theirs[kind] = _postgres_seconds(folder) - before[1]
    for kind, times in walls.items():
        p50, p95 = (1000 * float(np.quantile(times, q)) for q in (0.5, 0.95))
        asked = len(times)
        print(
            f"{count:7} recordings, {kind:15}: p50 {p50:6.1f} ms, p95 {p95:6.1f} ms,"
            f" right {right[kind] / asked:.3f} of {asked}, CPU {1000 * ours[kind] / asked:.1f} ms"
            f" here and {1000 * theirs[kind] / asked:.1f} ms in PostgreSQL"
        )
    await _tell_size(database, count, tracks)
    return statistics.median(walls["clean"])


async def _tell_size(database: Database, count: int, tracks: list[Track]) -> None:
    async with database.connection() as connection:
        cursor = await connection.execute(
            """SELECT pg_total_relation_size('landmark_block') AS blocks,
                (SELECT count(*) FROM landmark_segment) AS segments,
                (SELECT sum(landmark_count) FROM landmark_segment) AS landmarks"""
        )
        size = await cursor.fetchone()
    assert size is not None
    minutes = float(size["landmarks"] or 1) / landmarks_per_second(tracks) / 60
    print(
        f"{count:7} recordings: {size['segments']} segments, {size['blocks'] / 2**20:.0f} MiB,"
        f" {size['blocks'] / minutes / 1024:.1f} KiB of index a minute"
    )


async def _here(function, *values):  # type: ignore[no-untyped-def]
    """Runs in this thread what a service would run in another process."""
    return function(*values)


def _is_sure(hits: list) -> bool:  # type: ignore[type-arg]
    return bool(hits) and hits[0].likeness.false_positive_rate <= 1 / 200


def _queries(kind: str, tracks: list[Track]) -> Iterator[tuple[int, np.ndarray]]:
    """10 s of every track that is there, or that is not."""
    for number, each in enumerate(tracks):
        if (number < STRANGERS) != (kind == "unknown"):
            continue
        clip = each.sound[10 * RATE_HZ : 20 * RATE_HZ]
        noise = np.random.default_rng(number).standard_normal(len(clip)).astype(np.float32)
        loudness = clip.std() * np.float32(10**-0.5 if kind.endswith("noise") else 0.0)
        yield number, clip + noise * loudness


def _postgres_seconds(folder: Path) -> float:
    """CPU seconds of the server's processes, from what Linux tells; 0 elsewhere."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(folder.resolve()):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                # Its own, and its children's that have ended: of workers that shared a query.
                ticks += sum(map(int, fields[11:15]))
        except OSError:
            continue  # it ended, or is not ours to look at
    return ticks / os.sysconf("SC_CLK_TCK")


async def _enrol(store: Store, track: Track, number: int) -> None:
    audio = f"audio/{number:064x}"
    frames = len(track.sound)
    recording = Recording(uuid.uuid4(), OWNER, audio, frames, RATE_HZ, title=str(number))
    enrolled = Enrolled(recording, np.zeros(0, np.uint32), peaks=track.peaks)
    await store.add(enrolled, Stretch(audio, 0, frames), await store.shelves(OWNER))


if __name__ == "__main__":
    sys.exit(main())
