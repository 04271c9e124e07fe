"""What is to be made, and what came of it: values that go to a process and back."""

from dataclasses import dataclass

from chorale_mastering.brief import Brief
from chorale_mastering.encodings import FileEncoding
from chorale_mastering.loudness import Loudness
from chorale_mastering.plan import AlbumLoudness, Codec
from chorale_mastering.report import CompressionLevel, MasterReport, MasterWarning


@dataclass(frozen=True)
class Usual:
    """The loudness that a genre or platform usually has; 0 is not stated."""

    title: str
    low_lufs: float
    high_lufs: float


@dataclass(frozen=True)
class Order:
    """One file to make."""

    label: str
    brief: Brief
    encoding: FileEncoding
    file_name: str  # as a browser saves it
    usual: Usual | None = None
    unchecked: tuple[Codec, ...] = ()  # the preset names them, and no encoder is installed


@dataclass(frozen=True)
class Outcome:
    """One file that was made, where it lies until it is kept, and what was done."""

    path: str
    report: MasterReport
    matched_input_path: str = ""


@dataclass(frozen=True)
class Heard:
    """What inspecting found, and what is kept of it as a reference."""

    loudness: Loudness
    centroid_hz: float
    bandwidth_hz: float
    rolloff_hz: float
    lowpass_hz: float  # 0: there is none
    rms_dbfs: float
    zero_crossing_rate: float
    crest_factor_db: float
    third_octaves_db: tuple[float, ...]
    compression: CompressionLevel
    warnings: tuple[MasterWarning, ...]
    reference_warnings: tuple[MasterWarning, ...]
    packed: bytes


@dataclass(frozen=True)
class Matched:
    """What following a reference gave, beside the files."""

    outcomes: tuple[Outcome, ...]
    reference: Loudness
    reference_octaves_db: tuple[float, ...]
    reference_warnings: tuple[MasterWarning, ...]
    difference_db: tuple[float, ...]


@dataclass(frozen=True)
class AlbumRelation:
    """What an album has to reach, and how its tracks relate."""

    target_lufs: float
    loudness: AlbumLoudness


@dataclass(frozen=True)
class Album:
    """What an album became."""

    outcomes: tuple[Outcome, ...]
    album_lufs: float | None
    gains_db: tuple[float, ...]
