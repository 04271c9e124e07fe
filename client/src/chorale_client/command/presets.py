"""`chorale presets`."""

from typing import TYPE_CHECKING

import click

from chorale_client.command import wishes
from chorale_client.command.session import Session, subcommand
from chorale_client.command.wishes import Wishes

if TYPE_CHECKING:
    from chorale.mastering.v1.presets_pb2 import Preset

    from chorale_client.sync import Chorale

_KINDS = ("genre", "platform", "style", "own")
_PREFIX = "presets/"


@subcommand("presets")
@click.option("--kind", type=click.Choice(_KINDS), help="List only these.")
@click.option("--save", metavar="NAME", default="", help="Keep the options below under a name.")
@click.option("--title", default="", help="Of what is kept.")
@click.option("--delete", metavar="NAME", default="", help="Delete one of your own.")
@wishes.options
def command(
    session: Session, kind: str | None, save: str, title: str, delete: str, wishes: Wishes
) -> None:
    """List settings to begin a master with, built-in ones and your own; keep and delete your own.

    \b
    chorale presets --kind platform
    chorale presets --save our-label --lufs -11 --eq bright --limiter modern
    chorale presets --delete our-label
    """
    if save and delete:
        raise click.UsageError("Either --save or --delete.")
    with session.chorale() as chorale:
        if save:
            _tell(session, [_kept(chorale, save.removeprefix(_PREFIX), title, wishes)])
        elif delete:
            _delete(session, chorale, _PREFIX + delete.removeprefix(_PREFIX))
        else:
            _tell(session, _listed(chorale, kind))


def _kept(chorale: "Chorale", name: str, title: str, wishes: Wishes) -> "Preset":
    """The preset as it is now: new, or changed."""
    from chorale.mastering.v1 import presets_pb2

    from chorale_client.errors import ConflictError

    preset = presets_pb2.Preset(title=title, settings=wishes.settings)
    request = presets_pb2.CreatePresetRequest(preset_id=name, preset=preset)
    made: Preset
    try:
        made = chorale.mastering.CreatePreset(request).preset
    except ConflictError as error:
        if error.reason != "PRESET_EXISTS":
            raise
        preset.name = _PREFIX + name
        change = presets_pb2.UpdatePresetRequest(preset=preset)
        change.update_mask.paths.extend(["settings", *(["title"] if title else [])])
        made = chorale.mastering.UpdatePreset(change).preset
    return made


def _delete(session: Session, chorale: "Chorale", name: str) -> None:
    from chorale.mastering.v1 import presets_pb2

    chorale.mastering.DeletePreset(presets_pb2.DeletePresetRequest(name=name))
    session.say({"name": name, "deleted": True}, name, "deleted")


def _listed(chorale: "Chorale", kind: str | None) -> list["Preset"]:
    from chorale.mastering.v1 import presets_pb2

    request = presets_pb2.ListPresetsRequest(kind=f"PRESET_KIND_{kind.upper()}" if kind else None)
    found: list[Preset] = []
    while True:
        answer = chorale.mastering.ListPresets(request)
        found.extend(answer.presets)
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


def _tell(session: Session, presets: list["Preset"]) -> None:
    if session.as_json:
        for preset in presets:
            session.say(preset)
        return
    session.table(("preset", "kind", "target", "title", "when"), [_row(each) for each in presets])


def _row(preset: "Preset") -> tuple[str, ...]:
    from chorale.mastering.v1.presets_pb2 import PresetKind

    kind = PresetKind.Name(preset.kind).removeprefix("PRESET_KIND_").lower()
    target = ""
    if preset.settings.HasField("target_loudness_lufs"):
        target = f"{preset.settings.target_loudness_lufs:g} LUFS"
    name = preset.name.removeprefix(_PREFIX)
    return name, kind, target, preset.title, preset.description
