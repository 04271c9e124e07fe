"""Which patterns are like one.

What anybody may see is searched by a graph (HNSW) once it is large, and the caller's private
patterns one by one: they are never many, and those of others are never read. Whatever the graph
misses, because the filters leave little of what it walks, is found by a walk over everything.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chorale_runtime.database import Connection, Database

from chorale_fingerprint.layouts import Layout, Vector
from chorale_fingerprint.store.patterns import COLUMNS, Pattern, pattern_of
from chorale_fingerprint.store.renewal import told

# Up to so many public patterns of a layout each is compared: that takes some milliseconds.
EXACT_MAX = 10_000
COUNTED_MAX = 10_000
# What the graph looks at: at first, and at most when filters leave too little.
_LIST_MIN, _FILTERED_MIN, _LIST_MAX, _SCANNED_MAX = 60, 400, 1000, 20_000
# How many times as many as asked for are walked upon.
_WALKED_SHARE = 3


@dataclass(frozen=True)
class Wanted:
    """What similar patterns must be; empty fields want anything."""

    bpm_min: float = 0.0
    bpm_max: float = 0.0
    genres: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    sections: tuple[int, ...] = ()
    own_only: bool = False
    min_quality: float = 0.0
    created_after: str = ""
    is_public: bool | None = None
    other_than_song: uuid.UUID | None = None
    other_than: uuid.UUID | None = None


@dataclass(frozen=True)
class Similar:
    """A pattern and how like it is, in [0, 1]."""

    pattern: Pattern
    similarity: float


@dataclass(frozen=True)
class Answer:
    """The likest patterns first; how many passed of those that were compared."""

    found: list[Similar]
    total_count: int
    is_exact: bool


class SimilarPatterns:
    """Searches patterns for one caller at a time."""

    def __init__(self, database: Database, exact_max: int = EXACT_MAX) -> None:
        self._database, self._exact_max = database, exact_max
        self._large: set[str] = set()

    async def search(
        self,
        reader: str,
        layout: Layout,
        direction: Vector,
        wanted: Wanted,
        min_similarity: float,
        limit: int,
    ) -> Answer:
        """The `limit` likest patterns that pass, as many as there are."""
        values = _values(reader, layout, direction, wanted, min_similarity, limit)
        async with self._database.connection() as connection:
            if await self._is_small(connection, layout):
                return await _compared(connection, layout, values, _VISIBLE)
            own = await _compared(connection, layout, values, _OWN_PRIVATE)
            public = await _walked(connection, layout, values)
            if len(public.found) < limit:
                public = await _compared(connection, layout, values, _PUBLIC)
        found = sorted(own.found + public.found, key=lambda each: -each.similarity)
        count = min(own.total_count + public.total_count, COUNTED_MAX)
        return Answer(found[:limit], count, public.is_exact)

    async def _is_small(self, connection: Connection, layout: Layout) -> bool:
        """Counts, until there are many: the graph is as right if there are few again."""
        if layout.name in self._large:
            return False
        query = """SELECT count(*) AS count FROM
            (SELECT FROM pattern WHERE layout = %s AND is_public LIMIT %s) AS counted"""
        row = await (await connection.execute(query, (layout.name, self._exact_max + 1))).fetchone()
        is_small = row is not None and row["count"] <= self._exact_max
        if not is_small:
            self._large.add(layout.name)
        return is_small


_PUBLIC, _OWN_PRIVATE = "is_public", "(NOT is_public AND pattern.owner = %(reader)s)"
_VISIBLE = f"({_PUBLIC} OR {_OWN_PRIVATE})"
_PASSES = """
    AND (%(bpm_min)s = 0 OR bpm >= %(bpm_min)s) AND (%(bpm_max)s = 0 OR bpm <= %(bpm_max)s)
    AND (%(genres)s::text[] IS NULL OR genre = ANY(%(genres)s))
    AND (%(keys)s::text[] IS NULL OR key = ANY(%(keys)s))
    AND (%(sections)s::int[] IS NULL OR section = ANY(%(sections)s))
    AND (NOT %(own_only)s OR pattern.owner = %(reader)s)
    AND quality_score >= %(min_quality)s
    AND (%(created_after)s::date IS NULL OR pattern.create_time >= %(created_after)s::date)
    AND (%(is_public)s::bool IS NULL OR is_public = %(is_public)s)
    AND (%(other_than)s::uuid IS NULL OR pattern.name <> %(other_than)s)
    AND (%(other_than_song)s::uuid IS NULL OR song.name <> %(other_than_song)s)"""


async def _compared(
    connection: Connection, layout: Layout, values: Mapping[str, Any], whose: str
) -> Answer:
    """Compares with each pattern that passes."""
    query = f"""SELECT *, count(*) OVER () AS total_count FROM (
            SELECT {COLUMNS}, -(direction::vector({len(layout.dimensions)})
                <#> %(direction)s::vector) AS similarity
            FROM pattern JOIN song ON song.id = pattern.song
            WHERE layout = '{layout.name}' AND {whose} {_PASSES}) AS passing
        WHERE similarity >= %(min_similarity)s
        ORDER BY similarity DESC, id LIMIT %(limit)s"""  # noqa: S608 - layouts are ours
    rows = await (await connection.execute(query, values)).fetchall()
    count = min(rows[0]["total_count"], COUNTED_MAX) if rows else 0
    return Answer(_similar(rows), count, is_exact=True)


async def _walked(connection: Connection, layout: Layout, values: Mapping[str, Any]) -> Answer:
    """Walks the graph of what is public, nearly nearest first; more than asked for, then sorted.

    In strict order the walk would leave out what it comes upon late, under filters one in twelve.
    """
    filters = (
        "genres",
        "keys",
        "sections",
        "bpm_min",
        "bpm_max",
        "own_only",
        "min_quality",
        "created_after",
    )
    listed = 2 * int(values["limit"])
    # Under filters the walk goes far; the wider it is, the less it misses.
    listed = max(_FILTERED_MIN, 10 * listed) if any(map(values.get, filters)) else listed
    listed = min(_LIST_MAX, max(_LIST_MIN, listed))
    await connection.execute(
        f"""SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = {listed};
        SET LOCAL hnsw.max_scan_tuples = {_SCANNED_MAX}"""
    )
    likeness = f"direction::vector({len(layout.dimensions)}) <#> %(direction)s::vector"
    query = f"""WITH walked AS MATERIALIZED (
            SELECT {COLUMNS}, -({likeness}) AS similarity
            FROM pattern JOIN song ON song.id = pattern.song
            WHERE layout = '{layout.name}' AND {_PUBLIC} {_PASSES}
            ORDER BY {likeness} LIMIT {_WALKED_SHARE} * %(limit)s)
        SELECT * FROM walked WHERE similarity >= %(min_similarity)s
        ORDER BY similarity DESC, id LIMIT %(limit)s"""  # noqa: S608 - layouts are ours
    rows = await (await connection.execute(query, values)).fetchall()
    return Answer(_similar(rows), len(rows), is_exact=False)


def _values(
    reader: str, layout: Layout, direction: Vector, wanted: Wanted, least: float, limit: int
) -> dict[str, Any]:
    assert len(direction) == len(layout.dimensions)
    return vars(wanted) | {
        "genres": list(wanted.genres) or None,
        "keys": list(wanted.keys) or None,
        "sections": list(wanted.sections) or None,
        "created_after": wanted.created_after or None,
        "reader": reader,
        "direction": told(direction),
        "min_similarity": least,
        "limit": limit,
    }


def _similar(rows: list[dict[str, Any]]) -> list[Similar]:
    return [Similar(pattern_of(row), min(1.0, max(0.0, row["similarity"]))) for row in rows]
