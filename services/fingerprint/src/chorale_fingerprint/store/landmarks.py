"""Landmarks as rows: blocks of sorted numbers, in segments that grow by merging.

A recording's landmarks lie in a row of their own at first. From 32 such rows a segment is made, and
of eight segments of a level one of the next (P. O'Neil et al., "The Log-Structured Merge-Tree",
1996): a query reads, of every segment, only the blocks that its numbers fall into.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from chorale_runtime.database import Connection, Database

from chorale_fingerprint.landmarks import Landmarks, packed_places, unpacked_places
from chorale_fingerprint.placing import Hits

FRESH_MAX, FANOUT = 32, 8
# Landmarks in a block, on average: half a page of rows is read for each number looked up.
_BLOCK_LANDMARKS = 64
# Numbers are spread over 32 bits by an odd factor (D. Knuth, TAOCP 6.4), so that blocks fill alike.
_SPREAD = 2654435761
# How many bits of a number a coarse look compares.
_COARSE_BITS = 20
# A number that so many share says nothing.
_COMMON = 4000
# Segments are merged in parts of so many landmarks, which take some milliseconds each.
_PART_LANDMARKS = 500_000
_ROW = np.dtype([("number", "<u4"), ("recording", "<u4"), ("place", "<u4")])
Rows = npt.NDArray[Any]


@dataclass(frozen=True)
class Segment:
    """What is searched at once."""

    id: int
    level: int
    shift: int
    landmark_count: int


class LandmarkStore:
    """Reads and writes the rows; writing is part of its caller's transaction."""

    def __init__(self, database: Database, fresh_max: int = FRESH_MAX) -> None:
        self._database, self._fresh_max = database, fresh_max

    async def find(self, shelf_ids: Sequence[int], probes: Landmarks) -> Hits:
        """Looks numbers up on the shelves."""
        async with self._database.connection() as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = [await _fresh(connection, shelf_ids)]
            for segment in await _segments(connection, shelf_ids):
                blocks = np.unique(_spread(probes.hashes) >> np.uint32(segment.shift))
                found.append(await _read(connection, segment, blocks))
        return await asyncio.to_thread(_hits, np.concatenate(found), probes)

    async def write(
        self, connection: Connection, shelf: int, recording: int, landmarks: Landmarks
    ) -> None:
        """Keeps a recording's landmarks, apart from others at first."""
        await connection.execute(
            "INSERT INTO landmark_fresh (recording, shelf, data) VALUES (%s, %s, %s)",
            (recording, shelf, _rows(recording, landmarks).tobytes()),
        )

    async def remove(
        self, connection: Connection, shelf: int, recording: int, landmarks: Landmarks
    ) -> None:
        """Deletes a recording's landmarks from every block that holds some."""
        await _lock(connection, shelf)
        await connection.execute("DELETE FROM landmark_fresh WHERE recording = %s", (recording,))
        numbers = _spread(landmarks.hashes)
        for segment in await _segments(connection, [shelf]):
            blocks = np.unique(numbers >> np.uint32(segment.shift)).tolist()
            cursor = await connection.execute(
                "SELECT block, data FROM landmark_block WHERE segment = %s AND block = ANY(%s)",
                (segment.id, blocks),
            )
            for row in await cursor.fetchall():
                rows = np.frombuffer(row["data"], _ROW)
                kept = rows[rows["recording"] != recording]
                if len(kept) < len(rows):
                    await _replace(connection, segment, row["block"], kept, len(rows) - len(kept))

    async def fold(self, shelf: int) -> bool:
        """Makes a segment of fresh landmarks if there are many, and one of many segments.

        Says whether it did. Nothing happens while another does it.
        """
        async with self._database.connection() as connection:
            if await _count_fresh(connection, shelf) < self._fresh_max:
                return False
            query = "SELECT pg_try_advisory_xact_lock(hashtext('landmarks'), %s) AS locked"
            row = await (await connection.execute(query, (shelf,))).fetchone()
            if row is None or not row["locked"]:
                return False
            await _fold_fresh(connection, shelf)
            while await _merge(connection, shelf):
                pass
        return True


async def _lock(connection: Connection, shelf: int) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('landmarks'), %s)", (shelf,))


async def _count_fresh(connection: Connection, shelf: int) -> int:
    query = "SELECT count(*) AS count FROM landmark_fresh WHERE shelf = %s"
    row = await (await connection.execute(query, (shelf,))).fetchone()
    return row["count"] if row is not None else 0


async def _fresh(connection: Connection, shelf_ids: Sequence[int]) -> Rows:
    query = "SELECT data FROM landmark_fresh WHERE shelf = ANY(%s)"
    cursor = await connection.execute(query, (list(shelf_ids),), binary=True)
    return _joined([row["data"] for row in await cursor.fetchall()])


async def _segments(connection: Connection, shelf_ids: Sequence[int]) -> list[Segment]:
    query = """SELECT id, level, shift, landmark_count FROM landmark_segment
        WHERE shelf = ANY(%s) ORDER BY level, id"""
    rows = await (await connection.execute(query, (list(shelf_ids),))).fetchall()
    return [Segment(**row) for row in rows]


async def _read(connection: Connection, segment: Segment, blocks: npt.NDArray[np.uint32]) -> Rows:
    # Put together by the server: one value comes over, not a row for every block.
    query = """SELECT string_agg(data, '') AS data FROM landmark_block
        WHERE segment = %s AND block = ANY(%s::bigint[])"""
    cursor = await connection.execute(query, (segment.id, blocks.tolist()), binary=True)
    row = await cursor.fetchone()
    return _joined([row["data"] or b""] if row is not None else [])


async def _replace(
    connection: Connection, segment: Segment, block: int, kept: Rows, gone: int
) -> None:
    where = "WHERE segment = %s AND block = %s"
    if len(kept):
        statement = f"UPDATE landmark_block SET data = %s {where}"  # noqa: S608 - a constant
        await connection.execute(statement, (kept.tobytes(), segment.id, block))
    else:
        statement = f"DELETE FROM landmark_block {where}"  # noqa: S608
        await connection.execute(statement, (segment.id, block))
    await connection.execute(
        "UPDATE landmark_segment SET landmark_count = landmark_count - %s WHERE id = %s",
        (gone, segment.id),
    )


async def _fold_fresh(connection: Connection, shelf: int) -> None:
    cursor = await connection.execute(
        "DELETE FROM landmark_fresh WHERE shelf = %s RETURNING data", (shelf,), binary=True
    )
    rows = _joined([row["data"] for row in await cursor.fetchall()])
    rows = rows[np.argsort(rows["number"], kind="stable")]
    segment = await new_segment(connection, shelf, 1, len(rows))
    await write_blocks(connection, segment, rows)


async def _merge(connection: Connection, shelf: int) -> bool:
    """Merges the lowest level that is full; False when none is."""
    segments = await _segments(connection, [shelf])
    for level in sorted({segment.level for segment in segments}):
        full = [segment for segment in segments if segment.level == level]
        if len(full) < FANOUT:
            continue
        total = sum(segment.landmark_count for segment in full)
        target = await new_segment(connection, shelf, level + 1, total)
        for start, end in _parts(total):
            rows = np.concatenate([await _span(connection, each, start, end) for each in full])
            rows = await asyncio.to_thread(_sorted, rows)
            await write_blocks(connection, target, rows)
        await connection.execute(
            "DELETE FROM landmark_segment WHERE id = ANY(%s)", ([each.id for each in full],)
        )
        return True
    return False


def _parts(total: int) -> Iterator[tuple[int, int]]:
    """Cuts all numbers into parts of 2 ** n that hold some hundred thousand landmarks each."""
    width = 1 << 32
    while total * width > _PART_LANDMARKS << 32 and width > 1 << 24:
        width >>= 1
    for start in range(0, 1 << 32, width):
        yield start, start + width


async def _span(connection: Connection, segment: Segment, start: int, end: int) -> Rows:
    query = """SELECT data FROM landmark_block
        WHERE segment = %s AND block >= %s AND block < %s"""
    first, last = start >> segment.shift, -(-end >> segment.shift)
    cursor = await connection.execute(query, (segment.id, first, max(last, first + 1)), binary=True)
    rows = _joined([row["data"] for row in await cursor.fetchall()])
    return rows[(rows["number"] >= start) & (rows["number"] < end)]


async def new_segment(connection: Connection, shelf: int, level: int, count: int) -> Segment:
    """Begins a segment for so many landmarks."""
    # No block is wider than a part of a merge, so that no part cuts one in two.
    shift = 32 - max(8, (max(1, count // _BLOCK_LANDMARKS)).bit_length())
    query = """INSERT INTO landmark_segment (shelf, level, shift, landmark_count)
        VALUES (%s, %s, %s, %s) RETURNING id"""
    row = await (await connection.execute(query, (shelf, level, shift, count))).fetchone()
    assert row is not None
    return Segment(row["id"], level, shift, count)


async def write_blocks(connection: Connection, segment: Segment, rows: Rows) -> None:
    """Writes sorted landmarks, whole blocks of them."""
    blocks = rows["number"] >> np.uint32(segment.shift)
    edges = np.flatnonzero(np.diff(blocks.astype(np.int64), prepend=-1, append=-1))
    statement = "COPY landmark_block (segment, block, data) FROM STDIN (FORMAT BINARY)"
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["int4", "int8", "bytea"])
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            await copy.write_row((segment.id, int(blocks[first]), rows[first:last].tobytes()))


def _spread(numbers: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return (numbers * np.uint64(_SPREAD)).astype(np.uint32)


def _rows(recording: int, landmarks: Landmarks) -> Rows:
    rows = np.empty(len(landmarks), _ROW)
    rows["number"] = _spread(landmarks.hashes)
    rows["recording"], rows["place"] = recording, packed_places(landmarks)
    return _sorted(rows)


def _sorted(rows: Rows) -> Rows:
    return rows[np.argsort(rows["number"], kind="stable")]


def _joined(parts: Sequence[bytes]) -> Rows:
    return np.frombuffer(b"".join(parts), _ROW)


def _hits(rows: Rows, probes: Landmarks) -> Hits:
    """Pairs what was read with what was asked."""
    numbers = _spread(probes.hashes)
    order = np.argsort(numbers, kind="stable")
    asked = numbers[order]
    # Most of what was read is in a block with what was asked for, and no more: a coarse look first.
    coarse = np.zeros(1 << _COARSE_BITS, np.bool_)
    coarse[asked >> (32 - _COARSE_BITS)] = True
    rows = rows[coarse[rows["number"] >> np.uint32(32 - _COARSE_BITS)]]
    rows = rows[np.isin(rows["number"], asked)]
    if len(rows):
        _, index, counts = np.unique(rows["number"], return_inverse=True, return_counts=True)
        rows = rows[counts[index] <= _COMMON]
    first = np.searchsorted(asked, rows["number"])
    count = np.searchsorted(asked, rows["number"], side="right") - first
    row = np.repeat(np.arange(len(rows)), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    probe = order[np.repeat(first, count) + within]
    times, pitches = unpacked_places(rows["place"][row])
    return Hits(
        rows["recording"][row].astype(np.int64),
        times,
        pitches,
        probes.times[probe],
        probes.pitches[probe],
    )
