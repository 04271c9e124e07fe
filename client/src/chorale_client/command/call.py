"""`chorale call`."""

import json
import sys
from typing import Any

import click

from chorale_client.command.ops import facts, follow
from chorale_client.command.session import Session, subcommand
from chorale_client.services import SERVICES


@subcommand("call")
@click.argument("service", type=click.Choice(SERVICES))
@click.argument("method")
@click.argument("request_json", default="{}")
@click.option("--watch", is_flag=True, help="Follow the operation that the call starts.")
def command(session: Session, service: str, method: str, request_json: str, watch: bool) -> None:
    """Call METHOD of SERVICE with REQUEST_JSON (proto3 JSON; - reads stdin). Answers as JSON.

    \b
    chorale call ingest GetUsage
    chorale call mastering MeasureLoudness '{"audio": "audio/9f86..."}' --watch
    """
    if request_json == "-":
        request_json = sys.stdin.read()
    with session.chorale() as chorale:
        rpc = getattr(getattr(chorale, service), method, None)
        if rpc is None:
            known = ", ".join(dir(getattr(chorale, service)))
            raise click.UsageError(f"{service} has no {method}; it has {known}.")
        _call(session, chorale, rpc, _request(service, method, request_json), watch)


def _call(session: Session, chorale: Any, rpc: Any, request: Any, watch: bool) -> None:
    from google.longrunning import operations_pb2

    from chorale_client.calls import StreamStream, StreamUnary, UnaryStream
    from chorale_client.sync import Operation

    if isinstance(rpc.awaitable, StreamUnary | StreamStream):
        raise click.UsageError("The call takes a stream, which one JSON object is not.")
    answer = rpc(request)
    if isinstance(rpc.awaitable, UnaryStream):
        for message in answer:
            _print(message)
    elif isinstance(answer, operations_pb2.Operation):
        operation: Operation[Any] = chorale.operations.adopt(rpc, answer)
        if watch:
            follow(session, operation)
        else:
            click.echo(json.dumps(facts(operation)))
    else:
        _print(answer)


def _request(service: str, method: str, request_json: str) -> Any:
    from google.protobuf import json_format

    from chorale_client.services import request_class

    try:
        return json_format.Parse(request_json, request_class(service, method)())
    except json_format.ParseError as fault:
        raise click.UsageError(
            f"The request is no {method}Request in proto3 JSON: {fault}"
        ) from None


def _print(message: Any) -> None:
    from chorale_client.command.session import to_json

    click.echo(to_json(message))
