"""`chorale models`."""

from typing import TYPE_CHECKING

import click

from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.generation.v1.models_pb2 import Model

    from chorale_client.sync import Chorale


@subcommand("models")
@click.argument("name", required=False, default="", metavar="[models/...]")
@click.option("--engine", default="", help="Only those of this engine.")
def command(session: Session, name: str, engine: str) -> None:
    """List models, or show one: base models, which everybody sees, and your own.

    \b
    chorale models
    chorale models models/starter --json
    """
    from chorale.generation.v1 import models_pb2

    with session.chorale() as chorale:
        if name:
            request = models_pb2.GetModelRequest(name=name)
            found = [chorale.generation.GetModel(request).model]
        else:
            found = _listed(chorale, engine)
    if session.as_json:
        for model in found:
            session.say(model)
        return
    session.table(
        ("model", "engine", "licence", "aliases"),
        [
            (each.name, each.engine, each.licence or "not stated", " ".join(each.aliases))
            for each in found
        ],
    )


def _listed(chorale: "Chorale", engine: str) -> list["Model"]:
    from chorale.generation.v1 import models_pb2

    request = models_pb2.ListModelsRequest(engine=engine)
    found: list[Model] = []
    while True:
        answer = chorale.generation.ListModels(request)
        found.extend(answer.models)
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found
