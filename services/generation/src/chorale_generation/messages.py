"""Between proto messages and the values that the engines and the registry know."""

from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import models_pb2

from chorale_generation.engines import Standing
from chorale_generation.store import Filter, Model

_IS_BASE = {
    models_pb2.MODEL_KIND_UNSPECIFIED: None,
    models_pb2.MODEL_KIND_BASE: True,
    models_pb2.MODEL_KIND_FINE_TUNED: False,
}


def engine(value: Standing) -> engine_pb2.Engine:
    """An engine as `ListEngines` tells it."""
    told = value.engine
    return engine_pb2.Engine(
        name=told.name,
        capability=told.capability,
        version=told.version,
        code_licence=told.code_licence,
        weights_licence=" AND ".join(dict.fromkeys(each.licence for each in told.weights)),
        commercial_use=not told.noncommercial_licence,
        available=value.available,
        remedy=value.remedy,
        devices=told.devices,
        is_default=told.is_default,
        description=told.description,
        weights=[
            engine_pb2.Weights(name=each.model, licence=each.licence) for each in told.weights
        ],
    )


def wanted(request: models_pb2.ListModelsRequest) -> Filter:
    """Which models a request wants."""
    return Filter(request.engine, request.capability, request.model, _IS_BASE[request.kind])


def model(value: Model) -> models_pb2.Model:
    """A version of a model."""
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
        available=True,
    )
    if value.provenance is not None:
        message.provenance.ParseFromString(value.provenance)
    message.create_time.FromDatetime(value.create_time)
    return message
