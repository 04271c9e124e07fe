"""Checkpoints and curves of trainings, so that any replica can go on, and tell how they go."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chorale_runtime.database import Database
from chorale_runtime.objects import Objects

from chorale_generation.store.fetching import download
from chorale_generation.training.asked import Point

_PREFIX = "generation/trainings"


@dataclass(frozen=True)
class Told:
    """A point of a curve as it is kept."""

    point: Point
    checkpoint: bool
    message: str
    event_time: datetime


class Trainings:
    """Keeps both under the operation that trains; whoever asks has checked the owner."""

    def __init__(self, database: Database, objects: Objects) -> None:
        self._database, self._objects = database, objects

    async def resume(self, operation: str, path: Path) -> int:
        """Fetches the last checkpoint, if there is one; how often training was taken up again."""
        query = """UPDATE training SET resumed_count = resumed_count + 1
            WHERE operation = %s RETURNING step, resumed_count"""
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (_identity(operation),))).fetchone()
        if row is None:
            return 0
        await download(self._objects, _key(operation, row["step"]), path)
        return int(row["resumed_count"])

    async def checkpoint(self, operation: str, step: int, path: Path) -> None:
        """Stores how training stands, and lets go of what was stored before."""
        data = await asyncio.to_thread(path.read_bytes)
        await self._objects.put(_key(operation, step), data)
        query = """WITH earlier AS (SELECT step FROM training WHERE operation = %(operation)s)
            INSERT INTO training (operation, step) VALUES (%(operation)s, %(step)s)
            ON CONFLICT (operation) DO UPDATE SET step = excluded.step
            RETURNING (SELECT step FROM earlier) AS earlier"""
        values = {"operation": _identity(operation), "step": step}
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, values)).fetchone()
        if row is not None and row["earlier"] not in (None, step):
            await self._objects.delete(_key(operation, row["earlier"]))

    async def tell(
        self, operation: str, points: Sequence[Point], checkpoint: bool, message: str
    ) -> None:
        """Adds to the curve; what was told before stays as it was told."""
        query = """INSERT INTO training_point (operation, step, epoch, training_loss,
            validation_loss, learning_rate, checkpoint, message)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""
        async with self._database.connection() as connection:
            for place, point in enumerate(points):
                is_last = place == len(points) - 1
                values = (
                    _identity(operation),
                    point.step,
                    point.epoch,
                    point.training_loss,
                    point.validation_loss,
                    point.learning_rate,
                    checkpoint and is_last,
                    message if is_last else "",
                )
                await connection.execute(query, values)

    async def curve(self, operation: str, after_step: int = 0) -> list[Told]:
        """All points after a step."""
        query = """SELECT * FROM training_point WHERE operation = %s AND step > %s
            ORDER BY step LIMIT 100000"""
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (_identity(operation), after_step))
            rows = await cursor.fetchall()
        return [
            Told(
                Point(**{name: row[name] for name in Point.__dataclass_fields__}),
                row["checkpoint"],
                row["message"],
                row["event_time"],
            )
            for row in rows
        ]

    async def drop_checkpoint(self, operation: str) -> None:
        """Lets go of checkpoints; the curve stays as long as its operation.

        The row goes first: an attempt that is lost in between finds nothing to go on from, and
        not the name of what is no longer there.
        """
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM training WHERE operation = %s", (_identity(operation),)
            )
        await self._objects.delete_prefix(f"{_PREFIX}/{_identity(operation)}/")

    async def forget(self, operation: str) -> None:
        """Lets go of all that is kept of an operation."""
        await self.drop_checkpoint(operation)
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM training_point WHERE operation = %s", (_identity(operation),)
            )


def _identity(operation: str) -> str:
    return operation.removeprefix("operations/")


def _key(operation: str, step: int) -> str:
    return f"{_PREFIX}/{_identity(operation)}/{step:015d}"
