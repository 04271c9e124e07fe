"""Versions of models as they are told of, made ready for the registry."""

from chorale.generation.v1 import models_pb2

from chorale_generation.engines import Engine
from chorale_generation.store.models import PREFIX, ModelFile
from chorale_generation.store.registry import Entry


def entry(
    details: models_pb2.ModelDetails, engine: Engine, files: tuple[ModelFile, ...], made_by: bytes
) -> Entry:
    """What the registry keeps of a model, whoever made it."""
    return Entry(
        model=details.model.removeprefix(PREFIX),
        version=details.version,
        title=details.title,
        description=details.description,
        engine=engine.name,
        capability=details.capability or engine.capability,
        files=files,
        licence=details.licence,
        commercial_use=_is_commercial(details.licence),
        instrument=details.instrument,
        style=details.style,
        provenance=made_by,
    )


def _is_commercial(licence: str) -> bool:
    """Whether a licence is told, and none that forbids commercial use."""
    return bool(licence) and "-NC" not in licence
