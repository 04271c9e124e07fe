"""What a picture shows, and what it is drawn from."""

from dataclasses import dataclass

SPECTROGRAM, CHROMA, TEMPO, TIMELINE = "spectrogram", "chroma", "tempo", "timeline"
SELF_SIMILARITY, WAVEFORM = "self_similarity", "waveform"
OF_SOUND = (SPECTROGRAM, CHROMA, SELF_SIMILARITY, WAVEFORM)

WIDTH_DEFAULT, HEIGHT_DEFAULT = 1600, 600
WIDTH_LEAST, HEIGHT_LEAST = 64, 64


@dataclass(frozen=True)
class Order:
    """One picture."""

    kind: str
    width: int
    height: int
    is_svg: bool
    is_dark: bool


@dataclass(frozen=True)
class Stripe:
    """A labelled stretch; `group` is what stripes of one colour share."""

    start_seconds: float
    end_seconds: float
    label: str
    group: int = 0


@dataclass(frozen=True)
class Score:
    """What was found, for drawing."""

    start_seconds: float
    end_seconds: float
    sections: tuple[Stripe, ...] = ()
    keys: tuple[Stripe, ...] = ()
    chords: tuple[Stripe, ...] = ()
    beats: tuple[tuple[float, bool], ...] = ()  # seconds, whether a bar begins there
    tempo: tuple[tuple[float, float], ...] = ()  # seconds, beats per minute
    loudness: tuple[tuple[float, float], ...] = ()  # seconds, LUFS
