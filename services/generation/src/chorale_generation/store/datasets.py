"""Audio made ready to train on: rows, and sound in object storage."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from chorale_audio.encoding import Encoding
from chorale_audio.source import Source
from chorale_audio.source import Store as Bucket
from chorale_runtime.database import Database
from chorale_runtime.objects import Objects

PREFIX = "datasets/"


class DatasetNotFound(Exception):
    """No such dataset, or not the caller's."""

    def __init__(self, dataset: str) -> None:
        super().__init__(dataset)
        self.dataset = dataset

    def __str__(self) -> str:
        return f"There is no dataset {self.dataset!r}, or it is not yours."


@dataclass(frozen=True)
class Item:
    """One audio of a dataset."""

    audio: str
    frame_count: int
    bpm: float = 0.0
    key: str = ""
    label: str = ""
    is_validation: bool = False


@dataclass(frozen=True)
class Rejection:
    """Audio that was left out, and why."""

    audio: str
    reason: str


@dataclass(frozen=True)
class Draft:
    """A dataset to be."""

    id: uuid.UUID
    title: str
    sample_rate_hz: int
    items: tuple[Item, ...]
    rejections: tuple[Rejection, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Over names, lengths and settings of all items."""
        told = [[asdict(item) for item in self.items], self.sample_rate_hz, self.settings]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A dataset."""

    id: uuid.UUID
    title: str
    sha256: str
    sample_rate_hz: int
    duration_seconds: float
    items: tuple[Item, ...]
    rejections: tuple[Rejection, ...]
    create_time: datetime

    @property
    def name(self) -> str:
        """`datasets/{uuid}`."""
        return f"{PREFIX}{self.id}"


class Datasets:
    """Keeps datasets. Every query has an owner."""

    def __init__(self, database: Database, objects: Objects, bucket: Bucket) -> None:
        self._database, self._objects, self._bucket = database, objects, bucket

    async def keep_sound(self, dataset: uuid.UUID, audio: str, data: bytes) -> None:
        """Keeps the sound of an item: 16 bits, mono."""
        await self._objects.put(_key(dataset, audio), data)

    def source(self, dataset: Dataset, item: Item) -> Source:
        """Where the sound of an item lies."""
        return Source(
            audio=item.audio,
            key=_key(dataset.id, item.audio),
            encoding=Encoding.S16LE,
            sample_rate_hz=dataset.sample_rate_hz,
            channel_count=1,
            start_frame=0,
            frame_count=item.frame_count,
            store=self._bucket,
        )

    async def add(self, owner: str, draft: Draft) -> Dataset:
        """Keeps a dataset; the same one twice is one."""
        query = """INSERT INTO dataset (id, owner, title, sha256, sample_rate_hz,
            duration_seconds, items, rejections) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (id) DO NOTHING"""
        frames = sum(item.frame_count for item in draft.items)
        values = (
            draft.id,
            owner,
            draft.title,
            draft.sha256,
            draft.sample_rate_hz,
            frames / draft.sample_rate_hz,
            json.dumps([asdict(item) for item in draft.items]),
            json.dumps([asdict(rejection) for rejection in draft.rejections]),
        )
        async with self._database.connection() as connection:
            await connection.execute(query, values)
        return await self.find(owner, f"{PREFIX}{draft.id}")

    async def find(self, owner: str, name: str) -> Dataset:
        """One dataset; raises `DatasetNotFound`."""
        query = "SELECT * FROM dataset WHERE owner = %s AND id = %s"
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (owner, _identity(name)))).fetchone()
        if row is None:
            raise DatasetNotFound(name)
        return _dataset(row)

    async def page(self, owner: str, text: str, offset: int, count: int) -> Sequence[Dataset]:
        """Datasets whose title contains a text, newest first, without items."""
        query = """SELECT id, title, sha256, sample_rate_hz, duration_seconds, create_time,
            '[]'::jsonb AS items, '[]'::jsonb AS rejections FROM dataset
            WHERE owner = %s AND strpos(lower(title), lower(%s)) > 0
            ORDER BY number DESC OFFSET %s LIMIT %s"""
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (owner, text, offset, count))
            rows = await cursor.fetchall()
        return [_dataset(row) for row in rows]

    async def delete(self, owner: str, name: str) -> None:
        """Lets go of a dataset and its sound; raises `DatasetNotFound`."""
        query = "DELETE FROM dataset WHERE owner = %s AND id = %s RETURNING id"
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, (owner, _identity(name)))).fetchone()
        if row is None:
            raise DatasetNotFound(name)
        await self._objects.delete_prefix(_folder(row["id"]))

    async def forget_unborn(self, operation: str) -> None:
        """Lets go of the sound that an operation kept for a dataset that did not come to be."""
        dataset = identity_of(operation)
        query = "SELECT FROM dataset WHERE id = %s"
        async with self._database.connection() as connection:
            is_born = await (await connection.execute(query, (dataset,))).fetchone() is not None
        if not is_born:
            await self._objects.delete_prefix(_folder(dataset))


def identity_of(operation: str) -> uuid.UUID:
    """The identity of the dataset that an operation makes: its own."""
    return uuid.UUID(operation.removeprefix("operations/"))


def _dataset(row: dict[str, Any]) -> Dataset:
    fields = {name: row[name] for name in Dataset.__dataclass_fields__}
    fields["items"] = tuple(Item(**item) for item in row["items"])
    fields["rejections"] = tuple(Rejection(**each) for each in row["rejections"])
    return Dataset(**fields)


def _identity(name: str) -> str:
    return name.removeprefix(PREFIX)


def _folder(dataset: uuid.UUID) -> str:
    return f"generation/datasets/{dataset}/"


def _key(dataset: uuid.UUID, audio: str) -> str:
    return f"{_folder(dataset)}{audio.removeprefix('audio/')}"
