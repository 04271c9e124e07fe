"""The forms in which sound leaves as a file, and what each makes of a sound."""

from dataclasses import dataclass

from chorale_ingest.samples import Encoding, Layout
from chorale_ingest.sounds import Sound

RATES_MP3 = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True)
class Form:
    """One encoding."""

    name: str
    content_type: str
    suffix: str
    codec: str = ""
    """The encoder; empty is WAV, which needs none."""
    container: str = ""
    bit_depth: int = 0
    """Of integers. 0: floats, or as the source needs."""
    rates_hz: tuple[int, ...] = ()
    """Which it can hold; empty is all."""
    channel_count_max: int = 8
    bit_rate_bps: int = 0
    """Per channel; 0 where the codec takes what it needs."""


FORMS = {
    form.name: form
    for form in (
        Form("wav16", "audio/wav", "wav", bit_depth=16),
        Form("wav24", "audio/wav", "wav", bit_depth=24),
        Form("wav32f", "audio/wav", "wav"),
        Form("flac", "audio/flac", "flac", "flac", "flac"),
        Form("mp3", "audio/mpeg", "mp3", "libmp3lame", "mp3", 0, RATES_MP3, 2, 160_000),
        Form("opus", "audio/ogg", "opus", "libopus", "ogg", 0, (48000,), 8, 80_000),
    )
}


@dataclass(frozen=True)
class Cast:
    """A sound in a form: what is written, settled."""

    form: Form
    sample_rate_hz: int
    channel_count: int
    bit_depth: int
    """Of what is written; 32 for floats, and for codecs that are fed floats."""
    is_float: bool
    is_dithered: bool


@dataclass(frozen=True)
class Order:
    """What an encoder makes of the frames that it is given."""

    codec: str
    container: str
    sample_rate_hz: int
    layout: Layout
    """Of the frames it is given."""
    bit_depth: int
    """Of the frames it writes, 32 for floats."""
    is_dithered: bool
    bit_rate_bps: int
    """Per channel; 0 where the codec takes what it needs."""


# What reads the cover out of a file: one message, and no sound at all.
COVER = Order("cover", "cover", 44_100, Layout(Encoding.S16LE, 1), 0, False, 0)
COVER_TYPES = ("image/jpeg", "image/png")


def cast(sound: Sound, form: Form, sample_rate_hz: int = 0) -> Cast:
    """Settle rate, channels and bits; 0 asks for the rate as stored."""
    rate = _rate(form, sample_rate_hz or sound.sample_rate_hz)
    is_lossless = form.codec in ("", "flac")
    bit_depth = form.bit_depth
    if form.codec == "flac":
        bit_depth = 16 if sound.encoding is Encoding.S16LE else 24
    is_float = not (is_lossless and bit_depth)
    return Cast(
        form=form,
        sample_rate_hz=rate,
        channel_count=min(sound.channel_count, form.channel_count_max),
        bit_depth=32 if is_float else bit_depth,
        is_float=is_float,
        is_dithered=not is_float
        and (rate != sound.sample_rate_hz or not 0 < _bits(sound) <= bit_depth),
    )


def order(made: Cast, fed: Encoding) -> Order:
    """What the encoder of a cast is told when it is fed such samples."""
    return Order(
        codec=made.form.codec,
        container=made.form.container,
        sample_rate_hz=made.sample_rate_hz,
        layout=Layout(fed, made.channel_count),
        bit_depth=made.bit_depth,
        is_dithered=made.is_dithered,
        bit_rate_bps=made.form.bit_rate_bps,
    )


def as_stored(sound: Sound) -> Form:
    """The WAV that holds exactly what is stored, in the fewest bits."""
    if sound.encoding is Encoding.S16LE:
        return FORMS["wav16"]
    return FORMS["wav24" if 0 < _bits(sound) <= 24 else "wav32f"]


def file_name(name: str, suffix: str) -> str:
    """A name under which a file of this kind is saved."""
    stem, dot, _ = name.rpartition(".")
    return f"{stem if dot and stem else name}.{suffix}"


def _bits(sound: Sound) -> int:
    """How many bits of each stored sample mean something; 0: all that a float has."""
    if sound.encoding is Encoding.S16LE:
        return 16
    return sound.bit_depth if sound.bit_depth <= 24 else 0


def _rate(form: Form, wanted_hz: int) -> int:
    """The rate itself, else the greatest dividing it, else the next above, else the greatest."""
    if not form.rates_hz or wanted_hz in form.rates_hz:
        return wanted_hz
    dividing = [rate for rate in form.rates_hz if wanted_hz % rate == 0]
    above = [rate for rate in form.rates_hz if rate > wanted_hz]
    if dividing:
        return max(dividing)
    return min(above) if above else max(form.rates_hz)
