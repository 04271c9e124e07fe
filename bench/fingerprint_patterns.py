"""How long a search for similar patterns takes among a million, what it finds, and what it costs.

`python -m bench.fingerprint_patterns [COUNT] [--keep FOLDER] [--buffers SIZE]`, by default 1000000,
which takes some 3 GB of disk and, for the graph, some 15 minutes of CPU. Patterns are drawn around
centres, as the bars of songs are. Truth and the cost of comparing each are those of one product of
a matrix with a vector in one thread, which is what faiss's FlatIP does. `--buffers` is PostgreSQL's
shared_buffers, where an operator gives it more than the 128MB of the embedded one.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import numpy as np
from chorale_fingerprint.layouts import LAYOUTS
from chorale_fingerprint.store.patterns import Pattern, PatternStore
from chorale_fingerprint.store.similar import SimilarPatterns, Wanted
from chorale_mesh.postgres import EmbeddedPostgres
from chorale_runtime.database import Database

from bench.fingerprint_scale import _postgres_seconds

LAYOUT = LAYOUTS["layouts/drums/1"]
LENGTH, PER_CENTRE, SPREAD = 60, 50, 0.15
GENRES = ("blues", "disco", "drone", "house", "indie", "latin", "metal", "polka", "salsa", "swing")
QUERIES, LIMIT = 100, 20
# Searches before those that are counted, so that PostgreSQL has what fits of the graph in memory.
WARMING = 2000
BATCH = 50_000
RECALL_GOAL, SECONDS_GOAL = 0.98, 0.010
# Of comparing each, where no filter is set, at this recall.
FLAT_GOAL, FLAT_RECALL = 50, 0.99
_PATIENT = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0"


@dataclass(frozen=True)
class Crowd:
    """All patterns: their directions, and what filters ask about."""

    directions: np.ndarray
    genres: np.ndarray
    bpms: np.ndarray


def main() -> int:
    """Prints a row for each filter; 1 when a goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--buffers", default="128MB")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = asked.keep or Path(made)
        with EmbeddedPostgres(folder, settings={"shared_buffers": asked.buffers}) as postgres:
            return asyncio.run(_measured(postgres.url, folder, asked.count))


async def _measured(url: str, folder: Path, count: int) -> int:
    files = resources.files("chorale_fingerprint") / "migrations"
    values = _values(count)
    random = np.random.default_rng(2)
    crowd = Crowd(
        np.concatenate([_units(values[at : at + BATCH]) for at in range(0, count, BATCH)]),
        random.integers(0, len(GENRES), count),
        random.uniform(60, 180, count),
    )
    async with Database.open(url, "fingerprint", files) as database:
        started = time.monotonic()
        if not await _is_filled(database, count):
            await _fill(database, values, crowd)
        print(f"{count} patterns after {time.monotonic() - started:.0f} s", flush=True)
        return 1 if await _told(database, folder, crowd) else 0


async def _told(database: Database, folder: Path, crowd: Crowd) -> list[str]:
    missed: list[str] = []
    flat = _flat_seconds(crowd)
    print(f"comparing each, one thread: {1000 * flat:.1f} ms of CPU a query")
    genre, low, high = 3, 100.0, 106.0
    in_genre, in_tempo = crowd.genres == genre, (crowd.bpms >= low) & (crowd.bpms <= high)
    kinds = {
        "no filter": (Wanted(), None),
        "genre": (Wanted(genres=(GENRES[genre],)), in_genre),
        "tempo": (Wanted(bpm_min=low, bpm_max=high), in_tempo),
        "genre and tempo": (
            Wanted(genres=(GENRES[genre],), bpm_min=low, bpm_max=high),
            in_genre & in_tempo,
        ),
    }
    search, draw = SimilarPatterns(database), np.random.default_rng(3)
    chosen = draw.integers(0, len(crowd.directions), QUERIES)
    for index in draw.integers(0, len(crowd.directions), WARMING):
        await search.search("nobody", LAYOUT, crowd.directions[index], Wanted(), 0.0, LIMIT)
    for name, (wanted, passing) in kinds.items():
        walls: list[float] = []
        named: list[set[int]] = []
        directions = [_near(crowd.directions[index], draw) for index in [*chosen[:20], *chosen]]
        for turn, direction in enumerate(directions):
            if turn == 20:  # those before read from disk, and are not counted
                walls, named = [], []
                before = time.process_time(), _postgres_seconds(folder)
            started = time.perf_counter()
            answer = await search.search("nobody", LAYOUT, direction, wanted, 0.0, LIMIT)
            walls.append(time.perf_counter() - started)
            named.append({each.pattern.name.int for each in answer.found if each.pattern.name})
        ours = (time.process_time() - before[0]) / QUERIES
        theirs = (_postgres_seconds(folder) - before[1]) / QUERIES
        # After all searches: to find the truth takes the processor's cache from PostgreSQL.
        truths = [_truth(crowd, direction, passing) for direction in directions[20:]]
        agreeing = sum(len(found & truth) for found, truth in zip(named, truths, strict=True))
        recall, p50 = agreeing / QUERIES / LIMIT, float(np.median(walls))
        share = 1.0 if passing is None else float(passing.mean())
        print(
            f"{name:16} ({share:6.2%} pass): recall@20 {recall:.4f}, p50 {1000 * p50:.1f} ms, p95"
            f" {1000 * float(np.quantile(walls, 0.95)):.1f} ms, CPU {1000 * theirs:.2f} ms in"
            f" PostgreSQL (1/{flat / max(theirs, 1e-9):.0f} of comparing each) and here"
            f" {1000 * ours:.1f} ms",
            flush=True,
        )
        if recall < RECALL_GOAL or p50 > SECONDS_GOAL:
            missed.append(name)
        if passing is None and (recall < FLAT_RECALL or flat / max(theirs, 1e-9) < FLAT_GOAL):
            missed.append(f"1/{FLAT_GOAL} of comparing each")
    print("missed: " + (", ".join(missed) or "nothing"))
    await _tell_insert(database, search)
    return missed


async def _tell_insert(database: Database, search: SimilarPatterns) -> None:
    """A pattern is found by the search that follows its indexing."""
    store, walls, seen = PatternStore(database), [], 0
    for turn in range(20):
        values = tuple(np.random.default_rng(100 + turn).uniform(0, 1, LENGTH).tolist())
        request = uuid.uuid4()
        started = time.perf_counter()
        pattern = Pattern("bench", 1, LAYOUT.name, values, is_public=True)
        (made,) = await store.add([pattern], request, request.bytes)
        walls.append(time.perf_counter() - started)
        answer = await search.search("nobody", LAYOUT, LAYOUT.unit(values), Wanted(), 0.9, 1)
        seen += bool(answer.found) and answer.found[0].pattern.name == made.name
        await store.delete("bench", made.name)  # type: ignore[arg-type]
    print(f"visible at once: {seen} of {len(walls)}, indexed in {1000 * np.median(walls):.1f} ms")


def _values(count: int) -> np.ndarray:
    draw = np.random.default_rng(1)
    centres = draw.uniform(0, 1, (max(1, count // PER_CENTRE), LENGTH)).astype(np.float32)
    values = centres[draw.integers(0, len(centres), count)]
    for at in range(0, count, BATCH):
        part = values[at : at + BATCH]
        part += draw.normal(0, SPREAD, part.shape).astype(np.float32)
    return np.clip(values, 0, 1)


def _units(values: np.ndarray) -> np.ndarray:
    weighed = values * np.sqrt(LAYOUT.weights)
    return np.asarray(weighed / np.linalg.norm(weighed, axis=1, keepdims=True), np.float32)


def _near(direction: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    near = direction + draw.normal(0, 0.02, LENGTH).astype(np.float32)
    return np.asarray(near / np.linalg.norm(near), np.float32)


def _truth(crowd: Crowd, direction: np.ndarray, passing: np.ndarray | None) -> set[int]:
    likeness = crowd.directions @ direction
    if passing is not None:
        likeness[~passing] = -1
    return set((np.argpartition(-likeness, LIMIT)[:LIMIT] + 1).tolist())


def _flat_seconds(crowd: Crowd) -> float:
    started = time.process_time()
    for query in crowd.directions[:20]:
        likeness = crowd.directions @ query
        np.argpartition(-likeness, LIMIT)
    return (time.process_time() - started) / 20


async def _is_filled(database: Database, count: int) -> bool:
    async with database.connection() as connection:
        query = "SELECT count(*) AS count FROM pattern WHERE owner = 'crowd'"
        row = await (await connection.execute(query)).fetchone()
    return row is not None and row["count"] == count


async def _fill(database: Database, values: np.ndarray, crowd: Crowd) -> None:
    """Writes the rows first and the graph then, which is how a database is loaded."""
    count = len(values)
    async with database.connection() as connection:
        await connection.execute(_PATIENT)
        row = await (
            await connection.execute(
                "SELECT pg_get_indexdef('pattern_like_drums_1'::regclass) AS made"
            )
        ).fetchone()
        assert row is not None
        await connection.execute("DROP INDEX pattern_like_drums_1")
        await connection.execute(
            """INSERT INTO song (name, owner, title, artist)
            SELECT gen_random_uuid(), 'crowd', '', '' FROM generate_series(1, %s)""",
            (count // 10 + 1,),
        )
        for start in range(0, count, BATCH):
            part = slice(start, min(count, start + BATCH))
            await _copy(connection, start, values[part], crowd, part)
        await connection.execute("SET maintenance_work_mem = '2GB'")
        await connection.execute("SET max_parallel_maintenance_workers = 1")
        print("rows are written, the graph is made now", flush=True)
        await connection.execute(row["made"].encode())
        await connection.execute("RESET ALL")
    async with database.dedicated() as connection:
        await connection.execute("SET statement_timeout = 0")
        # As the server does by itself after a while: an index answers alone for old rows only.
        await connection.execute("VACUUM ANALYZE pattern")


_COLUMNS = """name, owner, is_public, song, instrument, layout, given, direction, section, bpm, key,
    genre, quality_score, audio, start_frame, frame_count, midi, preview_audio, time_signature"""


async def _copy(connection, start: int, values: np.ndarray, crowd: Crowd, part: slice) -> None:  # type: ignore[no-untyped-def]
    statement = f"COPY pattern ({_COLUMNS}) FROM STDIN"
    units = crowd.directions[part]
    async with connection.cursor() as cursor, cursor.copy(statement) as rows:
        for at, (value, unit) in enumerate(zip(values, units, strict=True), start=start):
            await rows.write_row(
                (
                    uuid.UUID(int=at + 1),
                    "crowd",
                    True,
                    at // 10 + 1,
                    1,
                    LAYOUT.name,
                    value.tobytes(),
                    "[" + ",".join(map("{:.6g}".format, unit.tolist())) + "]",
                    0,
                    float(crowd.bpms[at]),
                    "",
                    GENRES[crowd.genres[at]],
                    0.5,
                    *("", 0, 0, b"", "", ""),
                )
            )


if __name__ == "__main__":
    sys.exit(main())
