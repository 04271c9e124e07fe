"""What a master shall sound like: wishes, each of which may be left open, and the plan in force."""

import enum
from dataclasses import dataclass, field, fields

from chorale_mastering.dynamics import Compression
from chorale_mastering.tone import EqBand, EqPhase, EqProfile


class LimiterMode(enum.Enum):
    """How a limiter acts."""

    TRANSPARENT = "transparent"
    MODERN = "modern"
    AGGRESSIVE = "aggressive"
    CLASSIC = "classic"
    NONE = "none"


class LoudnessMeasure(enum.Enum):
    """What a loudness target counts."""

    INTEGRATED = "integrated"
    RMS = "rms"
    MAX_SHORT_TERM = "max_short_term"


class AlbumLoudness(enum.Enum):
    """How loudness relates over an album."""

    KEEP = "keep"
    LOUDEST = "loudest"
    EQUAL = "equal"


class Stage(enum.Enum):
    """The stages of a master, in their order."""

    MEASURING = "measuring"
    FILTER = "filter"
    MATCH = "match"
    EQ = "eq"
    COMPRESSOR = "compressor"
    SATURATION = "saturation"
    WIDTH = "width"
    GAIN = "gain"
    CLIPPER = "clipper"
    LIMITER = "limiter"
    OUTPUT = "output"
    CODEC_CHECK = "codec_check"
    VERIFYING = "verifying"


class Codec(enum.Enum):
    """A lossy codec."""

    MP3 = "mp3"
    AAC = "aac"
    OPUS = "opus"


@dataclass(frozen=True)
class CodecCheck:
    """A codec through which peaks must stay below the ceiling. 0 kbit/s means its default."""

    codec: Codec
    bitrate_kbps: int = 0


@dataclass(frozen=True)
class CompressorWishes:
    """What is wished of the compressor."""

    ratio: float | None = None
    threshold_dbfs: float | None = None
    attack_ms: float | None = None
    release_ms: float | None = None
    knee_db: float | None = None
    sidechain_highpass_hz: float | None = None
    band_count: int | None = None
    mix_percent: float | None = None


@dataclass(frozen=True)
class LimiterWishes:
    """What is wished of the limiter."""

    mode: LimiterMode | None = None
    ceiling_dbtp: float | None = None
    lookahead_ms: float | None = None
    release_ms: float | None = None


@dataclass(frozen=True)
class MasteringWishes:
    """What is wished of a master. None leaves it to the preset, and then to the default."""

    target_loudness_lufs: float | None = None
    loudness_measure: LoudnessMeasure | None = None
    compressor: CompressorWishes = field(default_factory=CompressorWishes)
    eq_profile: EqProfile | None = None
    eq_bands: tuple[EqBand, ...] | None = None
    eq_phase: EqPhase | None = None
    stereo_width_percent: float | None = None
    mono_below_hz: float | None = None
    minimum_correlation: float | None = None
    saturation_percent: float | None = None
    limiter: LimiterWishes = field(default_factory=LimiterWishes)
    rumble_hz: float | None = None
    input_gain_db: float | None = None
    clip_dbfs: float | None = None
    preserve_dynamics: float | None = None
    bypass: tuple[Stage, ...] | None = None
    codecs: tuple[CodecCheck, ...] | None = None
    draft: bool | None = None


@dataclass(frozen=True)
class MasteringPlan:
    """A master's settings in force; the defaults are the contract's.

    Three values may stay None, because the programme decides: the compressor's threshold; the
    rumble filter, which works at 20 Hz if there is something to remove; and mono lows, which
    begin at 120 Hz if the image is widened.
    """

    target_loudness_lufs: float = -14.0
    loudness_measure: LoudnessMeasure = LoudnessMeasure.INTEGRATED
    compression: Compression = field(default_factory=Compression)
    eq_profile: EqProfile = EqProfile.NEUTRAL
    eq_bands: tuple[EqBand, ...] = ()
    eq_phase: EqPhase = EqPhase.MINIMUM
    stereo_width_percent: float = 100.0
    mono_below_hz: float | None = None
    minimum_correlation: float = 0.0
    saturation_percent: float = 0.0
    limiter_mode: LimiterMode = LimiterMode.TRANSPARENT
    ceiling_dbtp: float = -1.0
    lookahead_ms: float = 5.0
    limiter_release_ms: float = 80.0
    rumble_hz: float | None = None
    input_gain_db: float = 0.0
    clip_dbfs: float | None = None
    preserve_dynamics: float = 0.0
    bypass: tuple[Stage, ...] = ()
    codecs: tuple[CodecCheck, ...] = ()
    draft: bool = False

    @property
    def ceiling(self) -> float:
        """What no peak may pass, as a share of full scale."""
        return float(10.0 ** (self.ceiling_dbtp / 20.0))

    def has(self, stage: Stage) -> bool:
        """Whether a stage is not left out."""
        return stage not in self.bypass


_LIMITER_NAMES = {
    "mode": "limiter_mode",
    "ceiling_dbtp": "ceiling_dbtp",
    "lookahead_ms": "lookahead_ms",
    "release_ms": "limiter_release_ms",
}


def planned(*layers: MasteringWishes) -> MasteringPlan:
    """The plan of these wishes; what an earlier layer says goes before the later ones."""
    plan: dict[str, object] = {}
    compression: dict[str, object] = {}
    for layer in reversed(layers):
        plan |= _said(layer)
        compression |= _said(layer.compressor)
        plan |= {_LIMITER_NAMES[name]: value for name, value in _said(layer.limiter).items()}
    for nested in ("compressor", "limiter"):
        plan.pop(nested, None)
    return MasteringPlan(**plan, compression=Compression(**compression))  # type: ignore[arg-type]


def _said(wishes: object) -> dict[str, object]:
    values = {row.name: getattr(wishes, row.name) for row in fields(wishes)}  # type: ignore[arg-type]
    return {name: value for name, value in values.items() if value is not None}
