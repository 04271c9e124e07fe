"""`chorale models`."""

import click

from chorale_client.command.session import Session, subcommand


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
            found = []
            listing = models_pb2.ListModelsRequest(engine=engine, page_size=1000)
            while not found or listing.page_token:
                answer = chorale.generation.ListModels(listing)
                found += answer.models
                listing.page_token = answer.next_page_token
                if not found:
                    break
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
