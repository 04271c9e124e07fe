"""`chorale doctor`."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale_client.checkup import Finding

MARKS = {True: ("ok  ", "green"), False: ("FAIL", "red"), None: ("-   ", "yellow")}


@subcommand("doctor")
@click.option(
    "--round-trip/--no-round-trip",
    default=None,
    help="Store, read back and delete a tenth of a second of noise. Default: on a local mesh only.",
)
def command(session: Session, round_trip: bool | None) -> None:
    """Check everything one trips over, one line each, and say what helps.

    Looks at the versions, the address book of `chorale up`, its processes and disk, the health of
    every service, your credentials, the way into the bucket and back, and the clocks.
    """
    from chorale_client import addresses, checkup

    def show(finding: "Finding") -> None:
        if session.as_json:
            session.say(asdict(finding))
            return
        mark, colour = MARKS[finding.ok]
        click.echo(f"{click.style(mark, fg=colour)}  {finding.check:<12} {finding.found}")
        if finding.remedy:
            click.echo(f"      {'':<12} -> {finding.remedy}")

    patience = replace(session.patience(), connect_seconds=2.0, retry_seconds=2.0)
    options = {
        "endpoint": session.endpoint,
        "token": session.token,
        "ca_file": session.ca_file,
        "patience": patience,
    }
    if not checkup.run(options, addresses.home(), round_trip, show):
        raise click.exceptions.Exit(1)
