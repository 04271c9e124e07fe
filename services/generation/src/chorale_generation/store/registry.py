"""Changing the model registry: new versions, aliases, and what is let go of."""

import json
from dataclasses import dataclass
from typing import Any

from chorale_runtime.database import Connection, Database
from psycopg.errors import RestrictViolation

from chorale_generation.store.models import LATEST, PREFIX, Model, ModelFile, ModelNotFound, Store


class ModelExists(Exception):
    """The version is registered with other contents, or an alias has its name."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.model = model

    def __str__(self) -> str:
        return f"{self.model} exists, and is something else."


class ModelInUse(Exception):
    """An alias points at the version."""

    def __init__(self, model: str, used_by: str) -> None:
        super().__init__(model, used_by)
        self.model, self.used_by = model, used_by

    def __str__(self) -> str:
        return f"{self.model} is used by {self.used_by}."


@dataclass(frozen=True)
class Entry:
    """A version to be."""

    model: str  # `{model}` of `models/{model}`
    version: str  # empty: the next number
    title: str
    description: str
    engine: str
    capability: str
    files: tuple[ModelFile, ...]
    licence: str
    commercial_use: bool
    instrument: str = ""
    style: str = ""
    provenance: bytes | None = None
    trained_by: str = ""
    dataset: str = ""
    parent: str = ""
    metrics: dict[str, float] | None = None
    provider: str = ""
    provider_id: str = ""


class Registry:
    """Writes the registry. Every change has an owner, and changes only what is theirs."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database, self._store = database, store

    async def register(self, owner: str, entry: Entry, alias: str = "") -> Model:
        """Keeps a version; the same contents twice are one. Raises `ModelExists`."""
        async with self._database.connection() as connection:
            await _lock(connection, owner, entry.model)
            version = entry.version or await _same_or_next(connection, owner, entry)
            name = f"{PREFIX}{entry.model}/{version}"
            if version == LATEST or await _is_alias(connection, owner, entry.model, version):
                raise ModelExists(name)
            values = _values(owner, entry, version)
            await connection.execute(_INSERT, values)
            query = """SELECT files = %(files)s::jsonb AND engine = %(engine)s
                AND provider = %(provider)s AND provider_id = %(provider_id)s AS same FROM model
                WHERE owner = %(owner)s AND model = %(model)s AND version = %(version)s"""
            row = await (await connection.execute(query, values)).fetchone()
            if row is None or not row["same"]:
                raise ModelExists(name)
            if alias and alias != LATEST:
                await _point(connection, owner, entry.model, alias, version)
        return await self._store.find(owner, name)

    async def delete(self, owner: str, name: str) -> None:
        """Lets go of a version of the owner's; raises `ModelNotFound` and `ModelInUse`."""
        model, _, version = name.removeprefix(PREFIX).partition("/")
        values = {"owner": owner, "model": model, "version": version}
        try:
            async with self._database.connection() as connection:
                query = """DELETE FROM model
                    WHERE owner = %(owner)s AND model = %(model)s AND version = %(version)s"""
                cursor = await connection.execute(query, values)
        except RestrictViolation as error:
            raise ModelInUse(name, await self._alias_of(values)) from error
        if not cursor.rowcount:
            raise ModelNotFound(name)

    async def set_alias(self, owner: str, model: str, alias: str, version: str) -> Model | None:
        """Points an alias at a version, or removes it; the version it points at now.

        Raises `ModelNotFound`, and `ModelExists` for an alias that is a version's name.
        """
        async with self._database.connection() as connection:
            await _lock(connection, owner, model)
            if not version:
                query = "DELETE FROM alias WHERE owner = %s AND model = %s AND alias = %s"
                await connection.execute(query, (owner, model, alias))
                return None
            await _point(connection, owner, model, alias, version)
        return await self._store.find(owner, f"{PREFIX}{model}/{version}")

    async def _alias_of(self, values: dict[str, str]) -> str:
        query = """SELECT alias FROM alias JOIN model ON model.id = alias.target
            WHERE model.owner = %(owner)s AND model.model = %(model)s AND version = %(version)s"""
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, values)).fetchone()
        return f"{PREFIX}{values['model']}/{row['alias']}" if row else "an alias"


async def _lock(connection: Connection, owner: str, model: str) -> None:
    """Of changes to one model at once, one goes after another."""
    query = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
    await connection.execute(query, (f"model {owner} {model}",))


async def _same_or_next(connection: Connection, owner: str, entry: Entry) -> str:
    """The version that is this already, or else the number after the last."""
    query = """SELECT version FROM model WHERE owner = %s AND model = %s AND files = %s::jsonb
        AND provider = %s AND provider_id = %s"""
    values: tuple[Any, ...] = owner, entry.model, _files(entry), entry.provider, entry.provider_id
    row = await (await connection.execute(query, values)).fetchone()
    if row is not None:
        return str(row["version"])
    query = """SELECT coalesce(max(version::numeric), 0) + 1 AS next FROM model
        WHERE owner = %s AND model = %s AND version ~ '^[0-9]{1,18}$'"""
    row = await (await connection.execute(query, values[:2])).fetchone()
    assert row is not None  # an aggregate has one row
    return str(row["next"])


async def _is_alias(connection: Connection, owner: str, model: str, name: str) -> bool:
    query = "SELECT FROM alias WHERE owner = %s AND model = %s AND alias = %s"
    return await (await connection.execute(query, (owner, model, name))).fetchone() is not None


async def _point(connection: Connection, owner: str, model: str, alias: str, version: str) -> None:
    query = "SELECT id, version FROM model WHERE owner = %s AND model = %s AND version = ANY(%s)"
    names = [version, alias]
    rows = await (await connection.execute(query, (owner, model, names))).fetchall()
    found = {row["version"]: row["id"] for row in rows}
    if alias in found or alias == LATEST:
        raise ModelExists(f"{PREFIX}{model}/{alias}")
    if version not in found:
        raise ModelNotFound(f"{PREFIX}{model}/{version}")
    query = """INSERT INTO alias (owner, model, alias, target) VALUES (%s, %s, %s, %s)
        ON CONFLICT (owner, model, alias) DO UPDATE SET target = excluded.target"""
    await connection.execute(query, (owner, model, alias, found[version]))


def _files(entry: Entry) -> str:
    return json.dumps([vars(file) for file in entry.files])


def _values(owner: str, entry: Entry, version: str) -> dict[str, Any]:
    return vars(entry) | {
        "owner": owner,
        "version": version,
        "title": entry.title or entry.model,
        "files": _files(entry),
        "metrics": json.dumps(entry.metrics or {}),
    }


_INSERT = """INSERT INTO model (owner, model, version, title, description, engine, capability,
    files, licence, commercial_use, instrument, style, provenance, trained_by, dataset, parent,
    metrics, provider, provider_id) VALUES (%(owner)s, %(model)s, %(version)s, %(title)s,
    %(description)s, %(engine)s, %(capability)s, %(files)s::jsonb, %(licence)s,
    %(commercial_use)s, %(instrument)s, %(style)s,
    %(provenance)s, %(trained_by)s, %(dataset)s, %(parent)s, %(metrics)s::jsonb,
    %(provider)s, %(provider_id)s)
    ON CONFLICT DO NOTHING"""
