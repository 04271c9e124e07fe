"""`chorale presets`."""

import click

from chorale_client.command.session import Session, subcommand

_KINDS = ("genre", "platform", "style", "own")


@subcommand("presets")
@click.option("--kind", type=click.Choice(_KINDS), help="Only these.")
def command(session: Session, kind: str | None) -> None:
    """List settings to begin a master with: built-in ones and your own."""
    from chorale.mastering.v1 import presets_pb2

    kinds = presets_pb2.PresetKind
    request = presets_pb2.ListPresetsRequest(kind=f"PRESET_KIND_{kind.upper()}" if kind else None)
    rows = []
    with session.chorale() as chorale:
        while True:
            answer = chorale.mastering.ListPresets(request)
            for preset in answer.presets:
                if session.as_json:
                    session.say(preset)
                    continue
                name = preset.name.removeprefix("presets/")
                kind_told = kinds.Name(preset.kind).removeprefix("PRESET_KIND_").lower()
                target = f"{preset.settings.target_loudness_lufs:g} LUFS"
                rows.append((name, kind_told, target, preset.title, preset.description))
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
    if not session.as_json:
        session.table(("preset", "kind", "target", "title", "when"), rows)
