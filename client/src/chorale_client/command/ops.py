"""`chorale ops`."""

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from chorale_client.command.session import Session, subcommand
from chorale_client.services import SERVICES

if TYPE_CHECKING:
    from chorale_client.sync import Operation

_of_service = click.option(
    "--service", default="", type=click.Choice(("", *SERVICES)), help="Ask this service only."
)


@click.group("ops")
def command() -> None:
    """List, show, follow and cancel long work."""


@subcommand("list")
@_of_service
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(min=1), help="The most to list."
)
def list_(session: Session, service: str, limit: int) -> None:
    """List your operations, service by service."""
    rows = []
    with session.chorale() as chorale:
        found = chorale.operations.list(service)
        for operation in islice(found, limit):
            if session.as_json:
                session.say(facts(operation))
            else:
                rows.append(_row(operation))
        found.close()
    session.table(("operation", "method", "state", "done", "says"), rows)


@subcommand("get")
@click.argument("name")
@_of_service
def get(session: Session, name: str, service: str) -> None:
    """Show how operation NAME stands, and its answer when it has ended."""
    with session.chorale() as chorale:
        operation = chorale.operations.get(_whole(name), service)
        if session.as_json:
            session.say(facts(operation))
            return
        session.table(("operation", "method", "state", "done", "says"), [_row(operation)])
        if operation.done:
            click.echo(operation.result())


@subcommand("watch")
@click.argument("name")
@_of_service
def watch(session: Session, name: str, service: str) -> None:
    """Follow operation NAME to its end. Exits with the status of what it failed with."""
    with session.chorale() as chorale:
        follow(session, chorale.operations.get(_whole(name), service))


@subcommand("cancel")
@click.argument("name")
@_of_service
def cancel(session: Session, name: str, service: str) -> None:
    """Ask for the end of operation NAME."""
    with session.chorale() as chorale:
        operation = chorale.operations.get(_whole(name), service)
        operation.cancel()
        session.say(facts(operation.refresh()), operation.name, "is asked to end")


for each in (list_, get, watch, cancel):
    command.add_command(each)


def follow(session: Session, operation: "Operation[Any]") -> None:
    """Shows progress to the end, then the answer, or raises what it failed with."""
    with session.progress(operation.name) as bar:
        for event in operation.events(after_sequence=0):
            if session.as_json:
                from google.protobuf import json_format

                session.say({"event": json_format.MessageToDict(event)})
            elif bar is not None:
                bar(int(event.fraction * 100), 100)
            else:
                click.echo(
                    f"{event.fraction:4.0%}  {event.stage}  {event.message}".rstrip(), err=True
                )
    answer = operation.result()
    if session.as_json:
        session.say(facts(operation))
    else:
        click.echo(str(answer).rstrip())


def facts(operation: "Operation[Any]") -> dict[str, Any]:
    """An operation as JSON: google.longrunning.Operation, and the service that has it."""
    from google.protobuf import json_format

    return {"service": operation.service, **json_format.MessageToDict(operation.state)}


def _row(operation: "Operation[Any]") -> tuple[str, ...]:
    metadata = operation.metadata
    state = "ended" if operation.done else metadata.event.stage or "queued"
    if operation.state.HasField("error"):
        state = "failed"
    return (
        operation.name,
        metadata.method.removeprefix("chorale."),
        state,
        f"{metadata.event.fraction:.0%}",
        operation.state.error.message or metadata.event.message,
    )


def _whole(name: str) -> str:
    return name if name.startswith("operations/") else f"operations/{name}"
