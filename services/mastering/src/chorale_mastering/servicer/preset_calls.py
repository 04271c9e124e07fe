"""The calls about presets."""

from collections.abc import Sequence

from chorale.mastering.v1 import presets_pb2
from chorale_runtime import caller
from chorale_runtime.calls import Context
from chorale_runtime.pages import page

from chorale_mastering.store.presets import Presets

_CHANGEABLE = ("title", "description", "settings", "loudness_low_lufs", "loudness_high_lufs")


class PresetCalls:
    """Part of MasteringService."""

    _presets: Presets

    async def ListPresets(
        self, request: presets_pb2.ListPresetsRequest, _: Context
    ) -> presets_pb2.ListPresetsResponse:
        """Lists built-in presets and the caller's own."""
        owner = caller.current().principal
        found = [
            preset
            for preset in await self._presets.all(owner)
            if request.kind in (presets_pb2.PRESET_KIND_UNSPECIFIED, preset.kind)
        ]
        part = page(found, request.page_size, request.page_token, owner, request.kind)
        return presets_pb2.ListPresetsResponse(presets=part.items, next_page_token=part.next_token)

    async def GetPreset(
        self, request: presets_pb2.GetPresetRequest, _: Context
    ) -> presets_pb2.GetPresetResponse:
        """Returns one preset."""
        found = await self._presets.find(caller.current().principal, request.name)
        return presets_pb2.GetPresetResponse(preset=found)

    async def CreatePreset(
        self, request: presets_pb2.CreatePresetRequest, _: Context
    ) -> presets_pb2.CreatePresetResponse:
        """Keeps settings under a name of the caller's."""
        owner = caller.current().principal
        kept = await self._presets.create(owner, request.preset_id, request.preset)
        return presets_pb2.CreatePresetResponse(preset=kept)

    async def UpdatePreset(
        self, request: presets_pb2.UpdatePresetRequest, _: Context
    ) -> presets_pb2.UpdatePresetResponse:
        """Changes a preset of the caller's."""
        wanted, paths = request.preset, request.update_mask.paths or _CHANGEABLE

        def change(preset: presets_pb2.Preset) -> None:
            _changed(preset, wanted, paths)

        owner = caller.current().principal
        changed = await self._presets.update(owner, wanted.name, change)
        return presets_pb2.UpdatePresetResponse(preset=changed)

    async def DeletePreset(
        self, request: presets_pb2.DeletePresetRequest, _: Context
    ) -> presets_pb2.DeletePresetResponse:
        """Deletes a preset of the caller's."""
        await self._presets.delete(caller.current().principal, request.name)
        return presets_pb2.DeletePresetResponse()


def _changed(preset: presets_pb2.Preset, wanted: presets_pb2.Preset, paths: Sequence[str]) -> None:
    for path in paths:
        if path == "settings":
            preset.settings.CopyFrom(wanted.settings)
        else:
            setattr(preset, path, getattr(wanted, path))
