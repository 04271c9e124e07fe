"""What a master did and why, as facts."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from chorale_mastering.loudness import Loudness
from chorale_mastering.plan import CodecCheck, MasteringPlan, Stage


class WarningCode(enum.Enum):
    """What there is to know of a result."""

    TARGET_UNREACHABLE = "target_unreachable"
    INPUT_CLIPPED = "input_clipped"
    INPUT_OVERCOMPRESSED = "input_overcompressed"
    INPUT_QUIET = "input_quiet"
    PHASE = "phase"
    WIDTH_LIMITED = "width_limited"
    HEAVY_LIMITING = "heavy_limiting"
    REFERENCE_LOUD = "reference_loud"
    REFERENCE_UNLIKE = "reference_unlike"
    GENRE_LOUDNESS = "genre_loudness"
    CODEC_LOWERED = "codec_lowered"
    DC_OFFSET = "dc_offset"
    LOSSY_SOURCE = "lossy_source"
    CODEC_UNCHECKED = "codec_unchecked"


class CompressionLevel(enum.Enum):
    """How hard music was compressed before it came, by its crest factor."""

    NONE = "none"
    LIGHT = "light"
    MODERATE = "moderate"
    HEAVY = "heavy"


@dataclass(frozen=True)
class MasterWarning:
    """Something to know, with what was found and what was wanted, in the unit of the message."""

    code: WarningCode
    message: str
    found: float
    wanted: float


@dataclass(frozen=True)
class Step:
    """What one stage did, and why."""

    stage: Stage
    action: str
    reason: str
    values: Mapping[str, float] = field(default_factory=dict)
    latency_frames: int = 0


@dataclass(frozen=True)
class CodecPeak:
    """The true peak after a codec."""

    codec: CodecCheck
    true_peak_dbtp: float
    lowered_db: float
    round_count: int


@dataclass(frozen=True)
class MasterReport:
    """All facts of one master."""

    before: Loudness
    after: Loudness
    steps: tuple[Step, ...]
    quality_score: float  # in [0, 100]
    quality_parts: Mapping[str, float]
    warnings: tuple[MasterWarning, ...]
    recommendations: tuple[str, ...]
    plan: MasteringPlan
    input_compression: CompressionLevel
    spectrum_before_db: tuple[float, ...]  # third octaves from 20 Hz, relative to the whole
    spectrum_after_db: tuple[float, ...]
    gain_reduction_db: tuple[float, ...] = field(default=(), repr=False)  # at the curve's points
    goniometer: tuple[float, ...] = field(default=(), repr=False)  # middle, side, middle, side ...
    codecs: tuple[CodecPeak, ...] = ()
