"""`chorale ls`."""

from itertools import islice

import click

from chorale_client.command import naming
from chorale_client.command.session import Session, subcommand


@subcommand("ls")
@click.option("--tag", "tags", multiple=True, help="Only audio with this tag. May be repeated.")
@click.option("--text", default="", help="Only audio whose title or file name contains this.")
@click.option("--parent", default="", metavar="AUDIO", help="Only audio made from this one.")
@click.option("--kept", is_flag=True, help="Only audio that does not expire.")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(min=1), help="The most to list."
)
def command(
    session: Session, tags: tuple[str, ...], text: str, parent: str, kept: bool, limit: int
) -> None:
    """List your audio, newest first."""
    rows = []
    with session.chorale() as chorale:
        of = naming.full(chorale, parent) if parent else ""
        found = chorale.list(tags=tags, text=text, parent=of, kept=kept, page_size=min(limit, 1000))
        for audio in islice(found, limit):
            if session.as_json:
                session.say(audio)
                continue
            rows.append(
                (
                    naming.short(audio.name, session.for_people),
                    naming.shape(audio),
                    naming.size(audio.size_bytes),
                    audio.create_time.ToDatetime().isoformat(" ", "minutes"),
                    audio.title or audio.file_name,
                )
            )
        found.close()
    session.table(("audio", "sound", "size", "stored (UTC)", "title"), rows)
