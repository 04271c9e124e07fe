"""What is kept of a reference track: its facts as bytes, without its sound."""

import io
import json
from dataclasses import asdict, replace

import numpy as np

from chorale_mastering.following import ReferenceFacts
from chorale_mastering.inspection import Inspection
from chorale_mastering.loudness import Loudness
from chorale_mastering.spectrum import MeanSpectrum

_VERSION = 1


def packed(facts: ReferenceFacts) -> bytes:
    """Facts as bytes, nothing executable among them."""
    spectrum = facts.facts.spectrum
    told = {
        "version": _VERSION,
        "loudness": asdict(replace(facts.loudness, curve=None)),
        "facts": {name: value for name, value in vars(facts.facts).items() if name != "spectrum"},
        "spectrum_rate_hz": spectrum.sample_rate_hz,
    }
    file = io.BytesIO()
    np.savez_compressed(
        file,
        told=np.frombuffer(json.dumps(told).encode(), np.uint8),
        power=spectrum.power,
        loud_power=spectrum.loud_power,
    )
    return file.getvalue()


def unpacked(data: bytes) -> ReferenceFacts:
    """The same facts again."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        told = json.loads(file["told"].tobytes())
        spectrum = MeanSpectrum(told["spectrum_rate_hz"], file["power"], file["loud_power"])
    loudness = told["loudness"]
    for name in ("channel_true_peaks_dbtp", "third_octaves_db"):
        loudness[name] = tuple(loudness[name])
    facts = told["facts"]
    facts["offsets"] = tuple(facts["offsets"])
    return ReferenceFacts(Loudness(**loudness), Inspection(**facts, spectrum=spectrum))
