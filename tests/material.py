"""Pieces of the published test material with their annotations."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from signals import Signal


@dataclass(frozen=True)
class Piece:
    """A recording or a rendered score, and what is known of it."""

    name: str
    truth: dict[str, Any]
    path: Path

    def sound(self) -> tuple[Signal, int]:
        """Its samples and their rate."""
        samples, rate_hz = soundfile.read(self.path, dtype="float32", always_2d=True)
        return samples, rate_hz


def pieces(testdata: Path) -> Iterator[Piece]:
    """Every piece of the folder that has audio."""
    for truths, sounds in (("scores", "render"), ("real", "real")):
        for path in sorted((testdata / truths).glob("*.json")):
            truth = json.loads(path.read_text())
            found = [
                testdata / sounds / f"{truth['id']}{ending}" for ending in (".ogg", ".flac", ".mp3")
            ]
            for sound in found:
                if sound.exists():
                    yield Piece(truth["id"], truth, sound)
                    break
