"""Presets: those that come with the service, and those that callers keep."""

from collections.abc import Callable
from typing import Any

from chorale.mastering.v1 import presets_pb2
from chorale_runtime.database import Connection, Database

from chorale_mastering.messages.settings import told, wished
from chorale_mastering.presets import BuiltInPreset, built_in_presets

PREFIX = "presets/"


class PresetNotFound(Exception):
    """No preset of this name comes with the service or is the caller's."""

    def __init__(self, preset: str) -> None:
        super().__init__(preset)
        self.preset = preset

    def __str__(self) -> str:
        return f"There is no {self.preset}; `ListPresets` names those there are."


class PresetExists(Exception):
    """The name is taken by other settings."""

    def __init__(self, preset: str) -> None:
        super().__init__(preset)
        self.preset = preset

    def __str__(self) -> str:
        return f"{self.preset} exists with other contents; update it, or take another name."


class PresetBuiltIn(Exception):
    """The preset comes with the service."""

    def __init__(self, preset: str) -> None:
        super().__init__(preset)
        self.preset = preset

    def __str__(self) -> str:
        return f"{self.preset} comes with the service and does not change."


class PresetsFull(Exception):
    """The caller keeps as many presets as it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.quota, self.limit = "presets", limit

    def __str__(self) -> str:
        return f"You keep {self.limit} presets, which is the most; delete one first."


class Presets:
    """Reads and writes them. Owners are arguments: every query has one."""

    def __init__(self, database: Database, owned_max: int) -> None:
        self._database, self._owned_max = database, owned_max
        self._built_in = {
            PREFIX + name: _built_in(preset) for name, preset in built_in_presets().items()
        }

    async def find(self, owner: str, name: str) -> presets_pb2.Preset:
        """One preset; raises `PresetNotFound`."""
        if name in self._built_in:
            return self._built_in[name]
        async with self._database.connection() as connection:
            return await _find(connection, owner, name)

    async def all(self, owner: str) -> list[presets_pb2.Preset]:
        """Built-in ones and the owner's, by name."""
        query = "SELECT * FROM presets WHERE owner = %s"
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, (owner,))).fetchall()
        found = [*self._built_in.values(), *(_owned(row) for row in rows)]
        return sorted(found, key=lambda preset: preset.name)

    async def create(
        self, owner: str, preset_id: str, preset: presets_pb2.Preset
    ) -> presets_pb2.Preset:
        """Keeps a preset; the same one twice is one. Raises `PresetExists` and `PresetsFull`."""
        name = PREFIX + preset_id
        if name in self._built_in:
            raise PresetExists(name)
        async with self._database.connection() as connection:
            # Of creations at once, one counts after another.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"presets {owner}",)
            )
            cursor = await connection.execute(_COUNT, {"owner": owner, "id": preset_id})
            row = await cursor.fetchone()
            assert row is not None  # an aggregate has one row
            if not row["exists"] and row["count"] >= self._owned_max:
                raise PresetsFull(self._owned_max)
            await connection.execute(_INSERT, _values(owner, preset_id, preset))
            kept = await _find(connection, owner, name)
        if _contents(kept) != _contents(preset):
            raise PresetExists(name)
        return kept

    async def update(
        self, owner: str, name: str, change: Callable[[presets_pb2.Preset], None]
    ) -> presets_pb2.Preset:
        """Changes a preset of the owner's; raises `PresetNotFound` and `PresetBuiltIn`."""
        if name in self._built_in:
            raise PresetBuiltIn(name)
        async with self._database.connection() as connection:
            preset = await _find(connection, owner, name, is_locking=True)
            change(preset)
            preset_id = name.removeprefix(PREFIX)
            await connection.execute(_UPDATE, _values(owner, preset_id, preset))
            return await _find(connection, owner, name)

    async def delete(self, owner: str, name: str) -> None:
        """Deletes a preset of the owner's; raises `PresetNotFound` and `PresetBuiltIn`."""
        if name in self._built_in:
            raise PresetBuiltIn(name)
        query = "DELETE FROM presets WHERE owner = %s AND preset_id = %s"
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, (owner, name.removeprefix(PREFIX)))
            if not cursor.rowcount:
                raise PresetNotFound(name)


_COUNT = """SELECT count(*), coalesce(bool_or(preset_id = %(id)s), false) AS exists
FROM presets WHERE owner = %(owner)s"""

_INSERT = """INSERT INTO presets (owner, preset_id, told)
VALUES (%(owner)s, %(id)s, %(told)s) ON CONFLICT DO NOTHING"""

_UPDATE = """UPDATE presets SET told = %(told)s, update_time = now()
WHERE owner = %(owner)s AND preset_id = %(id)s"""


async def _find(
    connection: Connection, owner: str, name: str, is_locking: bool = False
) -> presets_pb2.Preset:
    query = "SELECT * FROM presets WHERE owner = %s AND preset_id = %s"
    values = (owner, name.removeprefix(PREFIX))
    if is_locking:
        query = "SELECT * FROM presets WHERE owner = %s AND preset_id = %s FOR UPDATE"
    row = await (await connection.execute(query, values)).fetchone()
    if row is None:
        raise PresetNotFound(name)
    return _owned(row)


def _values(owner: str, preset_id: str, preset: presets_pb2.Preset) -> dict[str, object]:
    return {"owner": owner, "id": preset_id, "told": _contents(preset)}


def _owned(row: dict[str, Any]) -> presets_pb2.Preset:
    preset = presets_pb2.Preset.FromString(row["told"])
    preset.name = PREFIX + row["preset_id"]
    preset.kind = presets_pb2.PRESET_KIND_OWN
    preset.update_time.FromDatetime(row["update_time"])
    return preset


def _contents(preset: presets_pb2.Preset) -> bytes:
    """What its owner says of it, and nothing that the service sets."""
    said = presets_pb2.Preset(
        title=preset.title,
        description=preset.description,
        settings=preset.settings,
        loudness_low_lufs=preset.loudness_low_lufs,
        loudness_high_lufs=preset.loudness_high_lufs,
    )
    return said.SerializeToString(deterministic=True)


def _built_in(preset: BuiltInPreset) -> presets_pb2.Preset:
    return presets_pb2.Preset(
        name=PREFIX + preset.preset_id,
        title=preset.title,
        description=preset.description,
        kind=told(preset.kind, presets_pb2.PresetKind),
        settings=wished(preset.wishes),
        loudness_low_lufs=preset.loudness_low_lufs,
        loudness_high_lufs=preset.loudness_high_lufs,
        is_built_in=True,
    )
