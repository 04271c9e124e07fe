"""Presets that come with the service: wishes under a name, kept as data in `presets.json`."""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from chorale_mastering.plan import (
    Codec,
    CodecCheck,
    CompressorWishes,
    LimiterMode,
    LimiterWishes,
    MasteringWishes,
)
from chorale_mastering.tone import EqBand, EqProfile, EqShape


class PresetKind(enum.Enum):
    """What a preset is for."""

    GENRE = "genre"
    PLATFORM = "platform"
    STYLE = "style"


@dataclass(frozen=True)
class BuiltInPreset:
    """Wishes under a name; loudness of 0 means that none is usual."""

    preset_id: str
    title: str
    description: str
    kind: PresetKind
    loudness_low_lufs: float
    loudness_high_lufs: float
    wishes: MasteringWishes


def built_in_presets() -> dict[str, BuiltInPreset]:
    """All of them, by their id, in order."""
    text = resources.files("chorale_mastering").joinpath("presets.json").read_text("utf-8")
    presets = [_preset(row) for row in json.loads(text)]
    return {preset.preset_id: preset for preset in presets}


def _preset(row: Mapping[str, Any]) -> BuiltInPreset:
    return BuiltInPreset(
        preset_id=row["id"],
        title=row["title"],
        description=row["description"],
        kind=PresetKind(row["kind"]),
        loudness_low_lufs=float(row["loudness_low_lufs"]),
        loudness_high_lufs=float(row["loudness_high_lufs"]),
        wishes=_wishes(dict(row["wishes"])),
    )


def _wishes(row: dict[str, Any]) -> MasteringWishes:
    """Unknown names are refused: the dataclass knows no such argument."""
    if "compressor" in row:
        row["compressor"] = CompressorWishes(**row["compressor"])
    if "limiter" in row:
        limiter = dict(row["limiter"])
        row["limiter"] = LimiterWishes(mode=LimiterMode(limiter.pop("mode")), **limiter)
    if "eq_profile" in row:
        row["eq_profile"] = EqProfile(row["eq_profile"])
    if "eq_bands" in row:
        row["eq_bands"] = tuple(
            EqBand(EqShape(band["shape"]), band["frequency_hz"], band["gain_db"], band["q"])
            for band in row["eq_bands"]
        )
    if "codecs" in row:
        row["codecs"] = tuple(
            CodecCheck(Codec(check["codec"]), check["bitrate_kbps"]) for check in row["codecs"]
        )
    return MasteringWishes(**row)
