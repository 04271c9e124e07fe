"""Which layouts patterns are searched in, and indexing them anew in a newer one.

While that goes on the old layout is searched as before. What is indexed meanwhile is indexed in
both, so that nothing is left out when the newer one is whole; from then on it is searched.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from chorale_runtime.database import Connection, Database

from chorale_fingerprint.layouts import LAYOUTS, Layout, Vector

# Patterns indexed anew in one transaction: some hundred milliseconds of a graph's work.
BATCH = 200
_LOCK = "SELECT pg_advisory_xact_lock{}(hashtext('layouts'), 0)"


@dataclass(frozen=True)
class Renewed:
    """How many patterns are in a layout, and how many of its instrument are not."""

    pattern_count: int
    left_count: int


class LayoutRenewal:
    """Indexes all patterns of an instrument in another layout."""

    def __init__(self, database: Database, batch: int = BATCH) -> None:
        self._database, self._batch = database, batch

    async def counts(self, layout: Layout) -> Renewed:
        """How it stands."""
        query = """SELECT count(*) FILTER (WHERE layout = %(layout)s) AS inside,
            count(*) FILTER (WHERE is_first) AS all_of_them
            FROM pattern WHERE instrument = %(instrument)s"""
        values = {"layout": layout.name, "instrument": layout.instrument}
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, values)).fetchone()
        assert row is not None
        return Renewed(row["inside"], row["all_of_them"] - row["inside"])

    async def renew(
        self, layout: Layout, told: Callable[[int, int], Awaitable[None]] | None = None
    ) -> Renewed:
        """Indexes anew what can be; says so far and in all. Begun again, it goes on."""
        total = (await self.counts(layout)).left_count
        async with self._database.connection() as connection:
            # Whoever indexes now has ended when this is there; whoever comes after sees it.
            await connection.execute(_LOCK.format(""))
            await connection.execute(
                "INSERT INTO layout_renewal (layout, instrument) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                (layout.name, layout.instrument),
            )
        last = done = 0
        while (reached := await self._some(layout, last)) is not None:
            last, done = reached, min(total, done + self._batch)
            if told is not None:
                await told(done, total)
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE layout_renewal SET is_whole = true WHERE layout = %s", (layout.name,)
            )
        return await self.counts(layout)

    async def _some(self, layout: Layout, last: int) -> int | None:
        """Indexes the next patterns anew; the number of the last of them, None when none is left.

        Their rows are locked, so that what their owners change meanwhile is changed in both.
        """
        query = """SELECT id, layout, given FROM pattern AS first
            WHERE is_first AND instrument = %s AND id > %s AND layout = ANY(%s)
            AND NOT EXISTS (SELECT FROM pattern AS other
                WHERE other.name = first.name AND other.layout = %s)
            ORDER BY id LIMIT %s FOR UPDATE"""
        values = (layout.instrument, last, list(layout.made_from), layout.name, self._batch)
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
            if rows:
                given = [bytes(row["given"]) for row in rows]
                units = [layout.unit(np.frombuffer(each, "<f4").tolist()) for each in given]
                ids = [row["id"] for row in rows]
                await connection.execute(
                    _INSERT, {"layout": layout.name, "ids": ids, "units": list(map(told, units))}
                )
        return rows[-1]["id"] if rows else None


_KEPT = """name, owner, is_public, song, instrument, recording, section, bpm, key, genre,
    quality_score, audio, start_frame, frame_count, preview_audio, time_signature, create_time,
    has_midi, given"""
_INSERT = f"""INSERT INTO pattern ({_KEPT}, midi, is_first, layout, direction)
    SELECT {_KEPT}, '', false, %(layout)s, unit::public.vector
    FROM unnest(%(ids)s::bigint[], %(units)s::text[]) AS made (made_id, unit)
    JOIN pattern ON pattern.id = made_id
    ON CONFLICT (name, layout) DO NOTHING"""  # noqa: S608 - columns of ours


async def renewed_in(connection: Connection) -> list[Layout]:
    """Layouts that what is indexed now is to be indexed in too, while this transaction lasts."""
    await connection.execute(_LOCK.format("_shared"))
    rows = await (await connection.execute("SELECT layout FROM layout_renewal")).fetchall()
    return [LAYOUTS[row["layout"]] for row in rows if row["layout"] in LAYOUTS]


async def serving(connection: Connection) -> dict[int, Layout]:
    """The layout that each instrument is searched in: the newest that is whole, or the oldest."""
    query = "SELECT layout FROM layout_renewal WHERE is_whole"
    whole = {row["layout"] for row in await (await connection.execute(query)).fetchall()}
    found: dict[int, Layout] = {}
    for layout in reversed(LAYOUTS.values()):  # oldest first
        if layout.name in whole or layout.instrument not in found:
            found[layout.instrument] = layout
    return found


def told(direction: Vector) -> str:
    """A direction as pgvector reads it."""
    return "[" + ",".join(f"{value:.7g}" for value in direction.tolist()) + "]"


def comparable(first: str, second: str) -> Layout | None:
    """The layout in which patterns of two can be compared: the newer, of the same numbers."""
    one, other = LAYOUTS[first], LAYOUTS[second]
    if one is other or other.name in one.made_from:
        return one
    return other if one.name in other.made_from else None
