"""`chorale engines`."""

import click

from chorale_client.command.session import Session, subcommand
from chorale_client.services import SERVICES


@subcommand("engines")
@click.argument("service", required=False, type=click.Choice(SERVICES))
@click.option("--capability", default="", help="Only engines that do this, such as beats.")
def command(session: Session, service: str | None, capability: str) -> None:
    """Show who does the work, under which licence, and whether it can work now."""
    rows = []
    with session.chorale() as chorale:
        for one in [service] if service else chorale.services:
            for engine in chorale.engines(one, capability):
                if session.as_json:
                    from google.protobuf import json_format

                    session.say({"service": one, **json_format.MessageToDict(engine)})
                    continue
                rows.append(
                    (
                        one,
                        engine.capability,
                        f"{engine.name}@{engine.version}{' *' if engine.is_default else ''}",
                        "ready" if engine.available else f"absent: {engine.remedy}",
                        engine.code_licence,
                        engine.weights_licence or "-",
                        "yes" if engine.commercial_use else "no",
                    )
                )
    columns = (
        "service",
        "capability",
        "engine (* default)",
        "state",
        "code",
        "weights",
        "commercial",
    )
    session.table(columns, rows)
