"""What a recording sounds like, as Chromaprint writes it: one 32-bit code every 0.124 s.

Conventions: sound goes in as float32 mono in [-1, 1], in blocks of any size and at any rate;
codes come out as uint32. Code `i` is made of the 2.7 s of sound that begin at frame
`i * FRAMES_PER_CODE` of the signal at 11025 Hz. Silence gives one code over and over; sound
shorter than `FRAMES_IN_CODE` gives none. See L. Lalinsky, "How does Chromaprint work?" (2011).
"""

import importlib
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chorale_fingerprint.lowering import RATE_HZ, Lowered

Codes: TypeAlias = npt.NDArray[np.uint32]

# The rate Chromaprint works at. Brought there by `lowering` it costs a fifth of its own resampler.
CODE_RATE_HZ = RATE_HZ
# The hop of its spectra: of 4096 frames, two thirds overlap.
FRAMES_PER_CODE = 4096 // 3
# A code looks at 16 columns of chroma, each smoothed over 5 spectra of 4096 frames.
FRAMES_IN_CODE = (16 + 5 - 2) * FRAMES_PER_CODE + 4096
SECONDS_PER_CODE = FRAMES_PER_CODE / CODE_RATE_HZ
# What 16-bit full scale is, on both sides of zero.
FULL_SCALE = 32767.0

REMEDY = "apt-get install -y libchromaprint1"


class LibraryMissing(Exception):
    """The Chromaprint library, which makes the codes, is not on this machine."""

    def __init__(self, engine: str, remedy: str) -> None:
        super().__init__(engine, remedy)
        self.engine, self.remedy = engine, remedy
        self.missing = "libchromaprint.so.1"

    def __str__(self) -> str:
        return f"The engine {self.engine} needs the library {self.missing}. Run: {self.remedy}"


def library_version() -> str | None:
    """Says which Chromaprint is installed, or None where there is none."""
    try:
        library = _library()
    except LibraryMissing:
        return None
    return str(library._libchromaprint.chromaprint_get_version().decode())


def compressed(codes: Codes) -> str:
    """Writes codes as AcoustID takes them: packed, in base64."""
    library = _library()
    algorithm = library.Fingerprinter.ALGORITHM_DEFAULT
    return str(library.encode_fingerprint(codes.tolist(), algorithm).decode("ascii"))


class CodeWriter:
    """Turns blocks of mono sound into codes; how the sound was cut makes no difference."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._library = _library()
        self._writer: Any = self._library.Fingerprinter()
        self._writer.start(CODE_RATE_HZ, 1)
        self._lowered = None if sample_rate_hz == CODE_RATE_HZ else Lowered(sample_rate_hz, 1)

    def push(self, block: npt.NDArray[np.float32]) -> None:
        """Takes the next frames."""
        self._feed(block if self._lowered is None else self._lowered.push(block[:, None]))

    def finish(self) -> Codes:
        """Takes the end of the sound and returns its codes."""
        if self._lowered is not None:
            self._feed(self._lowered.finish())
        codes, _ = self._library.decode_fingerprint(self._writer.finish())
        return np.array(codes, dtype=np.uint32)

    def _feed(self, block: npt.NDArray[np.float32]) -> None:
        # Rounded, not cut off: cutting towards zero distorts quiet sound enough to turn
        # a tenth of the bits of a soft introduction.
        samples = block * np.float32(FULL_SCALE)
        np.clip(samples, -FULL_SCALE, FULL_SCALE, out=samples)
        np.rint(samples, out=samples)
        if samples.size:
            self._writer.feed(samples.astype("<i2").tobytes())


def _library() -> ModuleType:
    """Loads the binding only when it is wanted: without the library its import fails."""
    try:
        return importlib.import_module("chromaprint")
    except ImportError:
        raise LibraryMissing("chromaprint", REMEDY) from None
