"""Between proto messages and the values that the engines and the registry know."""

from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import models_pb2

from chorale_generation.engines import REMEDY, Engine
from chorale_generation.store.model_uploads import ModelUpload
from chorale_generation.store.models import Filter, Model

_IS_BASE = {
    models_pb2.MODEL_KIND_UNSPECIFIED: None,
    models_pb2.MODEL_KIND_BASE: True,
    models_pb2.MODEL_KIND_FINE_TUNED: False,
}


def engine(value: Engine, available: bool) -> engine_pb2.Engine:
    """An engine as `ListEngines` tells it: with its licences, and whether it can work here."""
    return engine_pb2.Engine(
        name=value.name,
        capability=value.capability,
        version=value.version,
        code_licence=value.code_licence,
        weights_licence=" AND ".join(dict.fromkeys(each.licence for each in value.weights)),
        commercial_use=not value.noncommercial_licence,
        available=available,
        remedy="" if available else value.remedy or REMEDY,
        devices=value.devices,
        is_default=value.is_default,
        description=value.description,
        weights=[
            engine_pb2.Weights(name=each.model, licence=each.licence) for each in value.weights
        ],
    )


def wanted(request: models_pb2.ListModelsRequest) -> Filter:
    """Which models a request wants."""
    return Filter(request.engine, request.capability, request.model, _IS_BASE[request.kind])


def model(value: Model, remedy: str = "") -> models_pb2.Model:
    """A version of a model; with a remedy, one that cannot be used until that is done."""
    message = models_pb2.Model(
        name=value.name,
        title=value.title,
        description=value.description,
        kind=models_pb2.MODEL_KIND_BASE if value.is_base else models_pb2.MODEL_KIND_FINE_TUNED,
        engine=value.engine,
        capability=value.capability,
        files=[
            models_pb2.ModelFile(name=file.name, sha256=file.sha256, size_bytes=file.size_bytes)
            for file in value.files
        ],
        licence=value.licence,
        commercial_use=value.commercial_use,
        aliases=value.aliases,
        provider=value.provider,
        provider_id=value.provider_id,
        trained_by=value.trained_by,
        dataset=value.dataset,
        parent=value.parent,
        metrics=value.metrics,
        instrument=value.instrument,
        style=value.style,
        available=not remedy,
        remedy=remedy,
    )
    if value.provenance is not None:
        message.provenance.ParseFromString(value.provenance)
    message.create_time.FromDatetime(value.create_time)
    return message


def upload(value: ModelUpload) -> models_pb2.ModelUpload:
    """How an upload stands."""
    message = models_pb2.ModelUpload(
        name=value.name,
        committed_bytes=value.committed_bytes,
        size_bytes=value.size_bytes,
        finished=value.finished,
    )
    message.expire_time.FromDatetime(value.expire_time)
    return message
