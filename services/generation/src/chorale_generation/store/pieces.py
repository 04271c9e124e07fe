"""Sound that is being made, piece by piece, so that any replica can let it be heard."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects

_SAMPLE_BYTES = 4  # float32
_PREFIX = "generation/streams"


@dataclass(frozen=True)
class Stream:
    """What the pieces of an operation are frames of."""

    format: audio_pb2.PcmFormat
    total_frame_count: int
    provenance: engine_pb2.Provenance

    @property
    def frame_bytes(self) -> int:
        """Bytes per frame."""
        return _SAMPLE_BYTES * self.format.channel_count


class Pieces:
    """Keeps pieces under the operation that makes them; whoever asks has checked the owner."""

    def __init__(self, database: Database, objects: Objects) -> None:
        self._database, self._objects = database, objects

    async def begin(self, operation: str, stream: Stream) -> None:
        """Says what will come. An attempt after a lost one says, and then makes, the same."""
        query = """INSERT INTO stream VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (operation) DO NOTHING"""
        row = (
            _identity(operation),
            stream.format.sample_rate_hz,
            stream.format.channel_count,
            stream.total_frame_count,
            stream.provenance.SerializeToString(deterministic=True),
        )
        async with self._database.connection() as connection:
            await connection.execute(query, row)

    async def add(self, operation: str, start_frame: int, frames: bytes, frame_count: int) -> bytes:
        """Keeps the next piece, float32 and interleaved; the frames that are kept.

        What may have been heard stays: after a lost attempt that is what the lost one made.
        """
        place = (_identity(operation), start_frame)
        query = "SELECT FROM piece WHERE operation = %s AND start_frame = %s"
        async with self._database.connection() as connection:
            is_kept = await (await connection.execute(query, place)).fetchone() is not None
        if is_kept:
            return await self._objects.read_all(_key(*place))
        await self._objects.put(_key(*place), frames)
        query = "INSERT INTO piece VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
        async with self._database.connection() as connection:
            await connection.execute(query, (*place, frame_count))
        return frames

    async def stream(self, operation: str) -> Stream | None:
        """What an operation makes; None while it has not begun."""
        query = "SELECT * FROM stream WHERE operation = %s"
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (_identity(operation),))).fetchone()
        if row is None:
            return None
        return Stream(
            audio_pb2.PcmFormat(
                sample_rate_hz=row["sample_rate_hz"], channel_count=row["channel_count"]
            ),
            row["total_frame_count"],
            engine_pb2.Provenance.FromString(row["provenance"]),
        )

    async def frames(
        self, operation: str, stream: Stream, frame: int, chunk_bytes: int
    ) -> AsyncIterator[bytes]:
        """Yields what is there from a frame on: whole frames, to the end of the last piece."""
        query = """SELECT start_frame, frame_count FROM piece
            WHERE operation = %s AND start_frame + frame_count > %s ORDER BY start_frame"""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, (_identity(operation), frame))).fetchall()
        chunk = chunk_bytes // stream.frame_bytes * stream.frame_bytes
        for row in rows:
            if row["start_frame"] > frame:  # a piece between is not there yet
                return
            skipped = (frame - row["start_frame"]) * stream.frame_bytes
            data = await self._objects.read_all(_key(operation, row["start_frame"]))
            for at in range(skipped, len(data), chunk):
                yield data[at : at + chunk]
            frame = row["start_frame"] + row["frame_count"]

    async def forget(self, operation: str) -> None:
        """Lets go of all pieces of an operation."""
        await self._objects.delete_prefix(f"{_PREFIX}/{_identity(operation)}/")
        async with self._database.connection() as connection:
            for table in ("piece", "stream"):
                await connection.execute(
                    f"DELETE FROM {table} WHERE operation = %s",  # noqa: S608 - two known names
                    (_identity(operation),),
                )


def _identity(operation: str) -> str:
    return operation.removeprefix("operations/")


def _key(operation: str, start_frame: int) -> str:
    return f"{_PREFIX}/{_identity(operation)}/{start_frame:012d}"
