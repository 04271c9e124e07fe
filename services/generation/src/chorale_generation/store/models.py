"""The model registry as rows: base models, which everybody sees, and each owner's own."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chorale_runtime.database import Database

BASE_OWNER = ""
LATEST = "latest"
PREFIX = "models/"


class ModelNotFound(Exception):
    """No such model, version or alias, or not the caller's."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self.model = model

    def __str__(self) -> str:
        return f"There is no model {self.model!r}, or it is not yours."


@dataclass(frozen=True)
class ModelFile:
    """A file of a model."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Model:
    """A version of a model."""

    owner: str
    model: str
    version: str
    title: str
    description: str
    engine: str
    capability: str
    files: tuple[ModelFile, ...]
    licence: str
    commercial_use: bool
    provider: str
    provider_id: str
    instrument: str
    style: str
    provenance: bytes | None
    trained_by: str
    dataset: str
    parent: str
    metrics: dict[str, float]
    create_time: datetime
    aliases: tuple[str, ...]

    @property
    def is_base(self) -> bool:
        """Whether it is everybody's."""
        return self.owner == BASE_OWNER

    @property
    def name(self) -> str:
        """`models/{model}/{version}`."""
        return f"{PREFIX}{self.model}/{self.version}"


@dataclass(frozen=True)
class Filter:
    """Which models to list; empty fields want all."""

    engine: str = ""
    capability: str = ""
    model: str = ""
    is_base: bool | None = None


class Store:
    """Reads the registry. Every query has an owner, who sees base models and its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, owner: str, name: str) -> Model:
        """Finds a version by number or alias; without either the latest. One's own goes first."""
        model, _, version = name.removeprefix(PREFIX).partition("/")
        query = f"""{_SELECT} WHERE owner = ANY(%(owners)s) AND model = %(model)s
            AND (%(version)s = %(latest)s OR version = %(version)s OR EXISTS (SELECT FROM alias
                WHERE alias.target = model.id AND alias.alias = %(version)s))
            ORDER BY owner = %(owner)s DESC, version = %(version)s DESC, id DESC LIMIT 1"""
        values = {
            "owners": [owner, BASE_OWNER],
            "owner": owner,
            "model": model,
            "version": version or LATEST,
            "latest": LATEST,
        }
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, values)).fetchone()
        if row is None:
            raise ModelNotFound(name)
        return _model(row)

    async def trained_by(self, owner: str, name: str, operation: str) -> Model | None:
        """The version that an operation registered; None where it has not come so far."""
        query = f"""{_SELECT} WHERE owner = %s AND model = %s AND trained_by = %s
            ORDER BY id LIMIT 1"""
        values = owner, name.removeprefix(PREFIX).partition("/")[0], operation
        async with self._database.connection() as connection:
            row = await (await connection.execute(query, values)).fetchone()
        return None if row is None else _model(row)

    async def page(self, owner: str, wanted: Filter, offset: int, count: int) -> list[Model]:
        """Models by name, newest version first."""
        model, _, version = wanted.model.removeprefix(PREFIX).partition("/")
        query = f"""{_SELECT} WHERE owner = ANY(%(owners)s)
            AND (%(engine)s = '' OR engine = %(engine)s)
            AND (%(capability)s = '' OR capability = %(capability)s)
            AND (%(model)s = '' OR model = %(model)s)
            AND (%(version)s = '' OR version = %(version)s)
            AND (%(is_base)s::boolean IS NULL OR (owner = %(base)s) = %(is_base)s)
            ORDER BY model, id DESC OFFSET %(offset)s LIMIT %(count)s"""
        values = {
            **vars(wanted),
            "owners": [owner, BASE_OWNER],
            "base": BASE_OWNER,
            "model": model,
            "version": version,
            "offset": offset,
            "count": count,
        }
        async with self._database.connection() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
        return [_model(row) for row in rows]


# The newest version of a model answers to `latest` too.
_SELECT = """
SELECT model.*, ARRAY(
        SELECT alias.alias FROM alias WHERE alias.target = model.id
        UNION ALL
        SELECT 'latest' WHERE NOT EXISTS (SELECT FROM model AS newer
            WHERE newer.owner = model.owner AND newer.model = model.model AND newer.id > model.id)
        ORDER BY 1
    ) AS aliases
FROM model"""


def _model(row: dict[str, Any]) -> Model:
    fields = {name: row[name] for name in Model.__dataclass_fields__}
    fields["files"] = tuple(ModelFile(**file) for file in row["files"])
    fields["aliases"] = tuple(row["aliases"])
    return Model(**fields)
