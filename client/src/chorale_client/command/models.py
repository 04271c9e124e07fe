"""`chorale models`."""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale_client.command import mastering
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.generation.v1.models_pb2 import Model, WriteModelUploadRequest

    from chorale_client.sync import Chorale

_CHUNK_BYTES = 1 << 19


@subcommand("models")
@click.argument("name", required=False, default="", metavar="[models/...]")
@click.option("--engine", default="", help="Only those of this engine; with --import, its engine.")
@click.option("--licence", default="", help="With --import: SPDX licence of the weights.")
@click.option(
    "--import",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Register this file of weights under the name. No code in it is run.",
)
@click.option("--register", default="", help="Register this model that lives at a --provider.")
@click.option("--provider", default="", help="With --register: who runs it, such as replicate.")
@click.option("--description", default="", help="With --register: what it is for.")
@click.option("--providers", is_flag=True, help="Show instead who runs models elsewhere, and how.")
@click.option("--alias", default="", help="Point this alias at the version that is named.")
@click.option("--unalias", default="", help="Remove this alias of the model that is named.")
@click.option("--delete", is_flag=True, help="Let go of the version that is named.")
def command(
    session: Session,
    name: str,
    engine: str,
    licence: str,
    file: Path | None,
    alias: str,
    unalias: str,
    delete: bool,
    providers: bool,
    **elsewhere: str,
) -> None:
    """List models, show one, or bring one in: base models, which everybody sees, and your own.

    \b
    chorale models
    chorale models models/starter --json
    chorale models models/encodec-24khz --import encodec_24khz-d7cc33bc.th --engine encodec-cascade
    chorale models models/cascade/3 --alias best
    chorale models models/cascade --unalias best
    chorale models models/cascade/2 --delete
    chorale models models/cello --register studio/cello:5c7d5dc6 --provider replicate
    chorale models --providers
    """
    from chorale.generation.v1 import models_pb2

    if file is not None and not (name and engine):
        raise click.UsageError("--import needs the model's name and its --engine.")
    if bool(elsewhere["register"]) != bool(elsewhere["provider"]):
        raise click.UsageError("--register and --provider need each other.")
    if elsewhere["register"] and not name:
        raise click.UsageError("--register needs the model's name.")
    if providers:
        _tell_providers(session)
        return
    family, _, version = name.rpartition("/")
    if file is None and (alias or delete) and family.count("/") != 1:
        raise click.UsageError("--alias and --delete need a version, as models/cascade/2.")
    if unalias and not (name.startswith("models/") and name.count("/") == 1):
        raise click.UsageError("--unalias needs a model, as models/cascade.")
    with session.chorale() as chorale:
        if file is not None:
            found = [_imported(session, chorale, file, name, engine, licence, alias)]
        elif elsewhere["register"]:
            found = [_registered(chorale, name, licence, elsewhere)]
        elif alias:
            wish = models_pb2.SetAliasRequest(model=family, alias=alias, version=version)
            found = [chorale.generation.SetAlias(wish).model]
        elif unalias:
            found = _without(chorale, name, unalias)
        elif delete:
            chorale.generation.DeleteModel(models_pb2.DeleteModelRequest(name=name))
            found = []
        elif name:
            request = models_pb2.GetModelRequest(name=name)
            found = [chorale.generation.GetModel(request).model]
        else:
            found = _listed(chorale, engine)
    if session.as_json:
        for model in found:
            session.say(model)
        return
    session.table(
        ("model", "engine", "licence", "aliases", "lives at"),
        [
            (
                each.name,
                each.engine,
                each.licence or "not stated",
                " ".join(each.aliases),
                f"{each.provider}: {each.provider_id}" if each.provider else "",
            )
            for each in found
        ],
    )


def _without(chorale: "Chorale", name: str, alias: str) -> list["Model"]:
    """A model's versions, none of which has the alias any more."""
    from chorale.generation.v1 import models_pb2

    if alias not in [known for each in _listed(chorale, "", name) for known in each.aliases]:
        raise click.UsageError(f"{name} has no alias {alias}.")
    chorale.generation.SetAlias(models_pb2.SetAliasRequest(model=name, alias=alias))
    return _listed(chorale, "", name)


def _registered(chorale: "Chorale", name: str, licence: str, elsewhere: dict[str, str]) -> "Model":
    """A model that a provider runs, by its name here."""
    from chorale.generation.v1 import models_pb2

    provider = elsewhere["provider"]
    details = models_pb2.ModelDetails(
        model=name, engine=provider, licence=licence, description=elsewhere["description"]
    )
    request = models_pb2.RegisterModelRequest(
        details=details, provider=provider, provider_id=elsewhere["register"]
    )
    model: Model = chorale.generation.RegisterModel(request).model
    return model


def _tell_providers(session: Session) -> None:
    """Who runs models elsewhere, how they are, and what to do where one is not configured."""
    from chorale.generation.v1 import providers_pb2

    with session.chorale() as chorale:
        answer = chorale.generation.ListProviders(providers_pb2.ListProvidersRequest())
    if session.as_json:
        for provider in answer.providers:
            session.say(provider)
        return
    state = providers_pb2.ProviderState.Name
    session.table(
        ("provider", "does", "state", "instead", "what is wrong, what to do"),
        [
            (
                each.name,
                " ".join(each.capabilities),
                state(each.state).removeprefix("PROVIDER_STATE_").lower(),
                " ".join(each.alternatives),
                each.remedy or each.detail,
            )
            for each in answer.providers
        ],
    )


def _imported(
    session: Session,
    chorale: "Chorale",
    file: Path,
    name: str,
    engine: str,
    licence: str,
    alias: str,
) -> "Model":
    from chorale.generation.v1 import models_pb2

    request = models_pb2.ImportModelRequest(
        details=models_pb2.ModelDetails(model=name, engine=engine, licence=licence),
        uploads=[_uploaded(chorale, file)],
        alias=alias,
        request_id=str(uuid.uuid4()),
    )
    operation = chorale.start(
        chorale.generation.ImportModel, request, models_pb2.ImportModelResponse
    )
    model: Model = mastering.finished(session, operation, "importing").model
    return model


def _listed(chorale: "Chorale", engine: str, name: str = "") -> list["Model"]:
    from chorale.generation.v1 import models_pb2

    request = models_pb2.ListModelsRequest(engine=engine, model=name)
    found: list[Model] = []
    while True:
        answer = chorale.generation.ListModels(request)
        found.extend(answer.models)
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


def _uploaded(chorale: "Chorale", file: Path) -> str:
    """A file of weights on the mesh, whole; the upload's name."""
    from chorale.generation.v1 import models_pb2

    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    start = models_pb2.StartModelUploadRequest(
        file_name=file.name,
        sha256=digest,
        size_bytes=file.stat().st_size,
        request_id=str(uuid.uuid4()),
    )
    upload = chorale.generation.StartModelUpload(start).upload

    def chunks() -> Iterator["WriteModelUploadRequest"]:
        offset = 0
        with file.open("rb") as opened:
            while data := opened.read(_CHUNK_BYTES):
                yield models_pb2.WriteModelUploadRequest(
                    upload=upload.name, offset_bytes=offset, data=data
                )
                offset += len(data)
        yield models_pb2.WriteModelUploadRequest(
            upload=upload.name, offset_bytes=offset, finish=True
        )

    chorale.generation.WriteModelUpload(chunks())
    return str(upload.name)
