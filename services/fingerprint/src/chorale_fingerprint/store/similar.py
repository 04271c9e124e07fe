"""Which patterns are like one.

What anybody may see is searched by a graph (HNSW) once it is large, and the caller's private
patterns one by one: they are never many, and those of others are never read. Where filters leave
few of a large crowd each of those is compared, in an index that holds their directions: a graph
would walk past what it was asked for.
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
# Up to so many that pass the filters, as the planner estimates, each is compared: half a
# microsecond each, and all are found. Of more the graph finds enough.
PASSING_MAX = 150_000
# What the graph looks at: at first, and at most when filters leave too little.
_LIST_MIN, _FILTERED_MIN, _LIST_MAX, _SCANNED_MAX = 60, 400, 1000, 20_000
# How many times as many as asked for are walked upon under filters.
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

    def __init__(
        self, database: Database, exact_max: int = EXACT_MAX, passing_max: int = PASSING_MAX
    ) -> None:
        self._database, self._exact_max, self._passing_max = database, exact_max, passing_max
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
        asked = _Asked.of(reader, layout, direction, wanted, min_similarity, limit)
        async with self._database.connection() as connection:
            if await self._is_small(connection, layout):
                return await _compared(connection, asked, _VISIBLE)
            own = await _compared(connection, asked, _OWN_PRIVATE)
            public = await self._public(connection, asked)
        found = sorted(own.found + public.found, key=lambda each: -each.similarity)
        count = min(own.total_count + public.total_count, COUNTED_MAX)
        return Answer(found[:limit], count, public.is_exact)

    async def _public(self, connection: Connection, asked: "_Asked") -> Answer:
        if asked.is_narrow and await _estimated(connection, asked) <= self._passing_max:
            return await _compared(connection, asked, _PUBLIC)
        walked = await _walked(connection, asked)
        return await _compared(connection, asked, _PUBLIC) if walked is None else walked

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
# What is said of each field of `Wanted` that wants something. Only that is written into a
# statement: an index is of no use to "nothing is wanted, or it is this".
_CONDITIONS = {
    "bpm_min": "bpm >= %(bpm_min)s",
    "bpm_max": "bpm <= %(bpm_max)s",
    "genres": "genre = ANY(%(genres)s)",
    "keys": "key = ANY(%(keys)s)",
    "sections": "section = ANY(%(sections)s)",
    "own_only": "pattern.owner = %(reader)s",
    "min_quality": "quality_score >= %(min_quality)s",
    "created_after": "pattern.create_time >= %(created_after)s::date",
    "is_public": "is_public = %(is_public)s",
    "other_than": "pattern.name <> %(other_than)s",
    "other_than_song": """pattern.song IS DISTINCT FROM
        (SELECT song.id FROM song WHERE song.name = %(other_than_song)s)""",
}
# Those that the index of directions is sorted by, and those that a graph walks past much for.
_SORTED_BY = ("bpm_min", "bpm_max", "genres", "keys")
_NARROWING = (*_SORTED_BY, "sections", "own_only", "min_quality", "created_after")


@dataclass(frozen=True)
class _Asked:
    """A search as statements ask it."""

    layout: Layout
    passes: str
    values: Mapping[str, Any]
    least: float
    limit: int
    """Written into statements: of a number it does not know the planner fears the worst."""
    is_narrow: bool
    """Whether filters can be looked up in the index of directions."""
    is_filtered: bool

    @classmethod
    def of(
        cls,
        reader: str,
        layout: Layout,
        direction: Vector,
        wanted: Wanted,
        least: float,
        limit: int,
    ) -> "_Asked":
        assert len(direction) == len(layout.dimensions)
        said = {name: value for name, value in vars(wanted).items() if value}
        if wanted.is_public is False:  # which says something, where None does not
            said["is_public"] = False
        passes = " AND ".join(["true", *(_CONDITIONS[name] for name in said)])
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in said.items()} | {
            "reader": reader,
            "direction": told(direction),
            "min_similarity": least,
        }
        narrow, filtered = (bool(said.keys() & set(kinds)) for kinds in (_SORTED_BY, _NARROWING))
        return cls(layout, passes, values, least, limit, narrow, filtered)

    @property
    def product(self) -> str:
        """How unlike a pattern is: less their product."""
        return f"(direction::vector({len(self.layout.dimensions)}) <#> %(direction)s::vector)"

    @property
    def alike(self) -> str:
        """That a pattern is like enough, if that was asked."""
        return f"AND -{self.product} >= %(min_similarity)s" if self.least > 0 else ""

    def those(self, whose: str) -> str:
        """Patterns that pass."""
        return f"FROM pattern WHERE layout = '{self.layout.name}' AND {whose} AND {self.passes}"


async def _estimated(connection: Connection, asked: _Asked) -> float:
    """How many public patterns pass, as far as the planner knows."""
    query = f"EXPLAIN (FORMAT JSON) SELECT {asked.those(_PUBLIC)}"
    row = await (await connection.execute(query, asked.values)).fetchone()
    assert row is not None
    (plan,) = row["QUERY PLAN"]
    return float(plan["Plan"]["Plan Rows"])


async def _compared(connection: Connection, asked: _Asked, whose: str) -> Answer:
    """Compares with each pattern that passes."""
    # Only what the index holds is asked for of all; the rest, of those that are answered.
    query = f"""WITH best AS (SELECT pattern.id, -{asked.product} AS similarity {asked.those(whose)}
            {asked.alike} ORDER BY similarity DESC, id LIMIT {asked.limit})
        SELECT {COLUMNS}, similarity
        FROM best JOIN pattern ON pattern.id = best.id JOIN song ON song.id = pattern.song
        ORDER BY similarity DESC, pattern.id"""  # noqa: S608 - layouts and conditions are ours
    rows = await (await connection.execute(query, asked.values)).fetchall()
    count = len(rows)
    if count == asked.limit:  # then there may be more
        # Counted apart: a window over all that pass would keep all of their directions.
        counting = f"""SELECT count(*) AS count FROM
            (SELECT {asked.those(whose)} {asked.alike} LIMIT {COUNTED_MAX}) AS passing"""  # noqa: S608
        row = await (await connection.execute(counting, asked.values)).fetchone()
        count = row["count"] if row is not None else 0
    return Answer(_similar(rows), count, is_exact=True)


async def _walked(connection: Connection, asked: _Asked) -> Answer | None:
    """Walks the graph of what is public, nearly nearest first; more than asked for, then sorted.

    In strict order the walk would leave out what it comes upon late, under filters one in twelve.
    None when it comes upon less than was asked for.
    """
    listed, share = 2 * asked.limit, 1
    if asked.is_filtered:  # then the walk goes far; the wider it is, the less it misses
        listed, share = max(_FILTERED_MIN, 10 * listed), _WALKED_SHARE
    listed = min(_LIST_MAX, max(_LIST_MIN, listed))
    await connection.execute(
        f"""SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = {listed};
        SET LOCAL hnsw.max_scan_tuples = {_SCANNED_MAX}"""
    )
    query = f"""WITH walked AS MATERIALIZED (
            SELECT pattern.id, -{asked.product} AS similarity {asked.those(_PUBLIC)}
            ORDER BY {asked.product} LIMIT {share * asked.limit}),
        best AS (SELECT id, similarity FROM walked ORDER BY similarity DESC, id LIMIT {asked.limit})
        SELECT {COLUMNS}, similarity
        FROM best JOIN pattern ON pattern.id = best.id JOIN song ON song.id = pattern.song
        ORDER BY similarity DESC, pattern.id"""  # noqa: S608 - layouts and conditions are ours
    rows = await (await connection.execute(query, asked.values)).fetchall()
    if len(rows) < asked.limit:
        return None
    found = [row for row in rows if row["similarity"] >= asked.least]
    return Answer(_similar(found), len(found), is_exact=False)


def _similar(rows: list[dict[str, Any]]) -> list[Similar]:
    return [Similar(pattern_of(row), min(1.0, max(0.0, row["similarity"]))) for row in rows]
