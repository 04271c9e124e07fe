"""`chorale info`."""

from typing import TYPE_CHECKING

import click

from chorale_client.command import naming
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.ingest.v1.audio_pb2 import Audio


@subcommand("info")
@click.argument("audio")
def command(session: Session, audio: str) -> None:
    """Show what is known of AUDIO."""
    with session.chorale() as chorale:
        found = chorale.info(naming.full(chorale, audio))
    if session.as_json:
        session.say(found)
    else:
        session.table(("what", "value"), [row for row in _rows(found) if row[1]])


def _rows(audio: "Audio") -> list[tuple[str, str]]:
    expires = audio.expire_time.ToDatetime().isoformat(" ", "minutes")
    return [
        ("name", audio.name),
        ("sound", naming.shape(audio)),
        ("frames", str(audio.frame_count)),
        ("file", f"{audio.file_name} ({naming.size(audio.size_bytes)})".strip()),
        ("format", " ".join(part for part in (audio.container, audio.codec) if part)),
        ("title", audio.title),
        ("cover", audio.cover_type),
        ("tags", ", ".join(audio.tags)),
        *((f"file's {key}", value) for key, value in sorted(audio.embedded_tags.items())),
        ("loudness", _optional(audio, "integrated_lufs", "LUFS")),
        ("true peak", _optional(audio, "true_peak_dbtp", "dBTP")),
        ("stored", f"{audio.create_time.ToDatetime().isoformat(' ', 'minutes')} UTC"),
        ("expires", f"{expires} UTC" if audio.HasField("expire_time") else "never: it is kept"),
        ("made from", ", ".join(audio.parents)),
        ("made by", audio.provenance.engine_used),
        ("warnings", "; ".join(audio.warnings)),
    ]


def _optional(audio: "Audio", field: str, unit: str) -> str:
    return f"{getattr(audio, field):.1f} {unit}" if audio.HasField(field) else ""
