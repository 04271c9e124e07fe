"""What is stored and whose it is, as values; and where its bytes lie.

Object keys follow from the digest alone, so rows and objects may be written in any order.
"""

from dataclasses import dataclass
from datetime import datetime

from chorale_ingest.samples import Encoding, Layout


class AudioNotFound(Exception):
    """No such audio, or not the caller's."""

    def __init__(self, audio: str) -> None:
        super().__init__(audio)
        self.audio = audio
        self.missing = audio

    def __str__(self) -> str:
        return f"You have no audio {self.audio}. Upload it, or ask its owner to make it public."


class CoverNotFound(Exception):
    """No cover was kept with this audio."""

    def __init__(self, audio: str) -> None:
        super().__init__(audio)
        self.audio = audio
        self.missing = f"{audio} cover"

    def __str__(self) -> str:
        return f"No cover is kept with {self.audio}. Upload its file with keep_cover."


class AudioExists(Exception):
    """The caller already has this audio."""

    def __init__(self, audio: str) -> None:
        super().__init__(audio)
        self.audio = audio

    def __str__(self) -> str:
        return f"You already have {self.audio}; nothing needs to be uploaded."


class ObjectsVanished(Exception):
    """The objects of a sound were collected before it was claimed; place them again."""


@dataclass(frozen=True)
class Sound:
    """Stored bytes and what they are; nobody's."""

    sha256: str
    size_bytes: int
    container: str
    codec: str
    encoding: Encoding
    sample_rate_hz: int
    channel_count: int
    frame_count: int
    bit_depth: int
    bit_rate_bps: int
    sample_peak: float
    embedded_tags: dict[str, str]
    warnings: tuple[str, ...]
    has_original: bool
    integrated_lufs: float | None = None
    true_peak_dbtp: float | None = None

    @property
    def layout(self) -> Layout:
        """How frames lie in its PCM object."""
        return Layout(self.encoding, self.channel_count)

    @property
    def duration_seconds(self) -> float:
        """Its length."""
        return self.frame_count / self.sample_rate_hz


@dataclass(frozen=True)
class Entry:
    """One owner's audio."""

    owner: str
    sound: Sound
    file_name: str
    title: str
    tags: tuple[str, ...]
    is_private: bool
    create_time: datetime
    expire_time: datetime | None
    parents: tuple[str, ...]
    provenance: bytes | None
    sequence: int
    parent_start_frame: int | None = None
    parent_frame_count: int | None = None
    cover_type: str = ""
    """Media type of the cover that this owner keeps; empty: none."""

    @property
    def name(self) -> str:
        """`audio/{sha256}`."""
        return audio_name(self.sound.sha256)


@dataclass(frozen=True)
class Claim:
    """What an owner says of audio it stores."""

    owner: str
    file_name: str
    title: str
    tags: tuple[str, ...]
    is_private: bool
    parents: tuple[str, ...] = ()
    provenance: bytes | None = None
    parent_start_frame: int | None = None
    """Where it lies in its only parent, if it was cut out."""
    parent_frame_count: int | None = None
    cover_type: str = ""


@dataclass(frozen=True)
class Stored:
    """How much an owner holds."""

    audio_count: int
    kept_count: int
    size_bytes: int


@dataclass(frozen=True)
class Deletion:
    """Audio that is gone for an owner."""

    sequence: int
    sha256: str
    owner: str
    last: bool


def audio_name(sha256: str) -> str:
    """The resource name of a digest."""
    return f"audio/{sha256}"


def digest_in(name: str) -> str:
    """The digest in a resource name."""
    return name.removeprefix("audio/")


def original_key(sha256: str) -> str:
    """Where the bytes lie as they came."""
    return f"audio/{sha256}"


def pcm_key(sha256: str) -> str:
    """Where canonical PCM lies."""
    return f"pcm/{sha256}"


def overview_key(sha256: str) -> str:
    """Where the waveform overview lies."""
    return f"overview/{sha256}"


def cover_key(sha256: str) -> str:
    """Where the cover lies, if somebody keeps it."""
    return f"cover/{sha256}"


@dataclass(frozen=True)
class Places:
    """Where the three objects of a sound are put."""

    original: str
    pcm: str
    overview: str


def places(sha256: str) -> Places:
    """Where they belong."""
    return Places(original_key(sha256), pcm_key(sha256), overview_key(sha256))


def places_under(key: str) -> Places:
    """Beside each other, under a key."""
    return Places(f"{key}-original", f"{key}-pcm", f"{key}-overview")


def object_keys(sha256: str) -> tuple[str, ...]:
    """Everything that is stored of a sound."""
    return original_key(sha256), pcm_key(sha256), overview_key(sha256)
