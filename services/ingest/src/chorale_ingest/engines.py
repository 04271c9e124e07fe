"""The decoders and encoders of this service, as `ListEngines` tells them."""

from dataclasses import dataclass

FORMATS = (
    "wav",
    "w64",
    "rf64",
    "aiff",
    "flac",
    "mp3",
    "aac",
    "m4a",
    "alac",
    "ogg-vorbis",
    "opus",
    "wma",
    "matroska",
    "webm",
    "au",
    "caf",
)


@dataclass(frozen=True)
class Engine:
    """One way to do one capability."""

    name: str
    capability: str
    version: str
    code_licence: str
    description: str
    vocabularies: tuple[str, ...]
    limit_bytes: int = 0


def engines(pyav_version: str, soxr_version: str, own_version: str) -> tuple[Engine, ...]:
    """List them, default first within each capability."""
    return (
        Engine(
            name="ffmpeg",
            capability="decode",
            version=pyav_version,
            # PyAV itself is BSD-3-Clause; the FFmpeg libraries in its wheel are built as GPL.
            code_licence="BSD-3-Clause AND GPL-3.0-or-later",
            description="FFmpeg's libraries through PyAV, in a confined child process per file.",
            vocabularies=FORMATS,
        ),
        Engine(
            name="chorale",
            capability="encode",
            version=own_version,
            code_licence="Apache-2.0",
            description="WAV as it is stored: 16-bit integers or 32-bit floats.",
            vocabularies=("wav16", "wav32f"),
        ),
        Engine(
            name="soxr",
            capability="resample",
            version=soxr_version,
            code_licence="LGPL-2.1-or-later",
            description="libsoxr, very high quality, in blocks that any read can resume.",
            vocabularies=("8000-192000",),
        ),
    )
