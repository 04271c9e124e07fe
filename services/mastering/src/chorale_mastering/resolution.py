"""How samples are written, and the noise that hides what is lost."""

import enum
from dataclasses import dataclass

_GREATEST_FLOAT_BITS = 24  # float32 counts exactly to 2^24


class Dither(enum.Enum):
    """Noise that hides the loss of bits."""

    NONE = "none"
    TPDF = "tpdf"
    RPDF = "rpdf"
    SHAPED = "shaped"


@dataclass(frozen=True)
class Resolution:
    """How samples are written: 16, 24 or 32 bits, or as float."""

    bits: int = 24
    is_float: bool = False
    dither: Dither | None = None  # None: TPDF for 16 bits, none above

    @property
    def keeps_all(self) -> bool:
        """Whether float32 loses nothing in it."""
        return self.is_float or self.bits > _GREATEST_FLOAT_BITS

    @property
    def noise(self) -> Dither:
        """The dither in force."""
        if self.keeps_all:
            return Dither.NONE
        if self.dither is not None:
            return self.dither
        return Dither.TPDF if self.bits <= 16 else Dither.NONE

    @property
    def peak_rise(self) -> float:
        """How far quantising may lift a peak, as a share of full scale."""
        if self.keeps_all:
            return 0.0
        # Half a step of rounding, a step of noise, and what the shaping filter makes of both.
        steps = {Dither.NONE: 0.5, Dither.RPDF: 1.0, Dither.TPDF: 1.5, Dither.SHAPED: 12.0}
        return steps[self.noise] * 2.0 ** (1 - self.bits)
