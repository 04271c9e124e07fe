"""`chorale usage`."""

from chorale_client.command.session import Session, subcommand


@subcommand("usage")
def command(session: Session) -> None:
    """Show your tier, its limits and what is used of them."""
    with session.chorale() as chorale:
        usage = chorale.usage()
    if session.as_json:
        session.say(usage)
        return
    session.say(usage, usage.principal, f"tier {usage.tier}")
    rows = [
        (
            quota.name,
            str(quota.used),
            "no limit" if quota.limit < 0 else str(quota.limit),
            quota.unit,
        )
        for quota in usage.quotas
    ]
    session.table(("limit", "used", "of", "unit"), rows)
