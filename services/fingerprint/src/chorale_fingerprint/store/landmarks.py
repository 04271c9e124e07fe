"""Landmarks as rows: blocks of sorted numbers, in segments that grow by merging.

A recording's landmarks lie in a row of their own at first. From 32 such rows a segment is made, and
of eight segments of a level one of the next (P. O'Neil et al., "The Log-Structured Merge-Tree",
1996): a query reads, of every segment, only the blocks that its numbers fall into.
"""

import asyncio
import struct
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
# Of a segment, what more than 64 recordings and more than one in 256 have lies apart, in blocks
# that no query reads: a tenth of the numbers are nine tenths of what there would be to read.
_APART, _APART_MIN, _APART_SHARE = 1 << 33, 64, 256
# Segments are merged in parts of so many landmarks, which take some milliseconds each.
_PART_LANDMARKS = 500_000
# What PostgreSQL's COPY reads in binary; written here, because merging writes millions of blocks.
_COPY_BEGIN, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_COPY_ROW = struct.Struct(">hiiiqi").pack
_BLOCKS_AT_ONCE = 1000
_ROW = np.dtype([("number", "<u4"), ("recording", "<u4"), ("place", "<u4")])
Rows = npt.NDArray[Any]


@dataclass(frozen=True)
class Segment:
    """What is searched at once."""

    id: int
    level: int
    shift: int
    landmark_count: int


class Lookup:
    """Looks landmarks up for one query, some and then more; no number is read twice."""

    def __init__(self, database: Database, shelf_ids: Sequence[int]) -> None:
        self._database, self._shelf_ids = database, shelf_ids
        self._numbers = np.zeros(0, np.uint32)
        self._rows: Rows = np.zeros(0, _ROW)

    async def find(self, probes: Landmarks) -> Hits:
        """Where recordings on the shelves have the numbers of these."""
        numbers = np.setdiff1d(_spread(probes.hashes), self._numbers)
        if len(numbers):
            async with self._database.connection() as connection:
                data = await _read(connection, self._shelf_ids, numbers)
            return await asyncio.to_thread(self._added, numbers, data, probes)
        return await asyncio.to_thread(_hits, self._rows, probes)

    def _added(self, numbers: npt.NDArray[np.uint32], data: Rows, probes: Landmarks) -> Hits:
        self._rows = np.concatenate([self._rows, _only(data, numbers)])
        self._numbers = np.union1d(self._numbers, numbers)
        return _hits(self._rows, probes)


class LandmarkStore:
    """Reads and writes the rows; writing is part of its caller's transaction."""

    def __init__(self, database: Database, fresh_max: int = FRESH_MAX) -> None:
        self._database, self._fresh_max = database, fresh_max

    async def find(self, shelf_ids: Sequence[int], probes: Landmarks) -> Hits:
        """Looks numbers up on the shelves."""
        return await self.lookup(shelf_ids).find(probes)

    def lookup(self, shelf_ids: Sequence[int]) -> Lookup:
        """Begins to look up what one query asks for."""
        return Lookup(self._database, shelf_ids)

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
            blocks += [block + _APART for block in blocks]
            cursor = await connection.execute(
                "SELECT block, data FROM landmark_block WHERE segment = %s AND block = ANY(%s)",
                (segment.id, blocks),
            )
            for row in await cursor.fetchall():
                rows = np.frombuffer(row["data"], _ROW)
                kept = rows[rows["recording"] != recording]
                if len(kept) < len(rows):
                    await _replace(connection, segment, row["block"], kept, len(rows) - len(kept))

    async def lock(self, connection: Connection, shelves: Sequence[int]) -> None:
        """Keeps others from merging and deleting on these shelves while the transaction lasts."""
        for shelf in shelves:
            await _lock(connection, shelf)

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


async def _segments(connection: Connection, shelf_ids: Sequence[int]) -> list[Segment]:
    query = """SELECT id, level, shift, landmark_count FROM landmark_segment
        WHERE shelf = ANY(%s) ORDER BY level, id"""
    rows = await (await connection.execute(query, (list(shelf_ids),))).fetchall()
    return [Segment(**row) for row in rows]


async def _read(
    connection: Connection, shelf_ids: Sequence[int], numbers: npt.NDArray[np.uint32]
) -> Rows:
    """What is fresh, and of every segment the blocks that the numbers fall into.

    One statement sees one state of the tables, whatever is merged meanwhile; and one value comes
    over, not a row for every block.
    """
    # Blocks are looked up by their key, segment by segment: a join might read all of them.
    query = """SELECT string_agg(data, '') AS data FROM (
            SELECT data FROM landmark_fresh WHERE shelf = ANY(%(shelves)s)
            UNION ALL
            SELECT block.data FROM landmark_segment AS segment
            CROSS JOIN LATERAL (SELECT data FROM landmark_block
                WHERE landmark_block.segment = segment.id AND landmark_block.block = ANY(ARRAY(
                    SELECT DISTINCT number >> segment.shift
                    FROM unnest(%(numbers)s::bigint[]) AS number))) AS block
            WHERE segment.shelf = ANY(%(shelves)s)) AS found"""
    # As text: to write a list of numbers one by one takes longer than to look them up.
    values = {"shelves": list(shelf_ids), "numbers": f"{{{','.join(map(str, numbers.tolist()))}}}"}
    row = await (await connection.execute(query, values, binary=True)).fetchone()
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
        WHERE segment = %(segment)s AND (block >= %(first)s AND block < %(last)s
            OR block >= %(first)s + %(apart)s AND block < %(last)s + %(apart)s)"""
    first, last = start >> segment.shift, -(-end >> segment.shift)
    values = {"segment": segment.id, "first": first, "last": max(last, first + 1), "apart": _APART}
    cursor = await connection.execute(query, values, binary=True)
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
    """Writes sorted landmarks, whole blocks of them, those of common numbers apart."""
    is_common = _is_common(rows, FRESH_MAX * FANOUT ** (segment.level - 1))
    statement = "COPY landmark_block (segment, block, data) FROM STDIN (FORMAT BINARY)"
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(_COPY_BEGIN)
        for part, offset in ((rows[~is_common], 0), (rows[is_common], _APART)):
            for data in _copied(segment, part, offset):
                await copy.write(data)
        await copy.write(_COPY_END)


def _copied(segment: Segment, rows: Rows, offset: int) -> Iterator[bytes]:
    """Blocks as COPY reads them, many at once."""
    blocks = rows["number"] >> np.uint32(segment.shift)
    edges = np.flatnonzero(np.diff(blocks.astype(np.int64), prepend=-1, append=-1)).tolist()
    names, data = (blocks[edges[:-1]].astype(np.int64) + offset).tolist(), rows.tobytes()
    for start in range(0, len(names), _BLOCKS_AT_ONCE):
        parts = []
        for at in range(start, min(start + _BLOCKS_AT_ONCE, len(names))):
            first, last = edges[at] * _ROW.itemsize, edges[at + 1] * _ROW.itemsize
            parts += [_COPY_ROW(3, 4, segment.id, 8, names[at], last - first), data[first:last]]
        yield b"".join(parts)


def _is_common(rows: Rows, recordings: int) -> npt.NDArray[np.bool_]:
    """Which of sorted landmarks have numbers that very many recordings of the segment have."""
    most = max(_APART_MIN, recordings // _APART_SHARE)
    edges = np.flatnonzero(np.diff(rows["number"].astype(np.int64), prepend=-1, append=-1))
    counts = np.diff(edges)
    # Few numbers are told so often, and only of those it must be asked by how many recordings.
    often = np.flatnonzero(counts > most)
    common = [
        at for at in often if len(np.unique(rows["recording"][edges[at] : edges[at + 1]])) > most
    ]
    is_common = np.zeros(len(counts), np.bool_)
    is_common[common] = True
    return np.repeat(is_common, counts)


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


def _only(rows: Rows, numbers: npt.NDArray[np.uint32]) -> Rows:
    """Of what was read, what has these numbers, unless very many have the same."""
    # Most of what was read is in a block with what was asked for, and no more: a coarse look first.
    coarse = np.zeros(1 << _COARSE_BITS, np.bool_)
    coarse[numbers >> np.uint32(32 - _COARSE_BITS)] = True
    rows = rows[coarse[rows["number"] >> np.uint32(32 - _COARSE_BITS)]]
    rows = rows[np.isin(rows["number"], numbers)]
    if len(rows):
        _, index, counts = np.unique(rows["number"], return_inverse=True, return_counts=True)
        rows = rows[counts[index] <= _COMMON]
    return rows


def _hits(rows: Rows, probes: Landmarks) -> Hits:
    """Pairs what was found with what was asked."""
    numbers = _spread(probes.hashes)
    order = np.argsort(numbers, kind="stable")
    asked = numbers[order]
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
