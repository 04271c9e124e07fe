"""Laws that every stage of a master keeps."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import signals
from chorale_mastering.block import Processor, Samples, Sequenced, processed, require_finite
from chorale_mastering.brief import Format
from chorale_mastering.compressor import Compressor
from chorale_mastering.dither import Quantizer
from chorale_mastering.dynamics import Compression
from chorale_mastering.equalizer import equalizer
from chorale_mastering.filtering import Gain, Offset, blocker, rumble_filter
from chorale_mastering.limiter import Limiter, times
from chorale_mastering.live import Follower, LiveMaster
from chorale_mastering.loudness import NotFinite
from chorale_mastering.multiband import MultibandCompressor
from chorale_mastering.plan import LimiterMode, MasteringPlan
from chorale_mastering.resolution import Dither, Resolution
from chorale_mastering.saturation import Saturation, clipper
from chorale_mastering.stereo import StereoWidth, Width
from chorale_mastering.tone import PROFILES, EqPhase, EqProfile

Build = Callable[[int, int], Processor]

SQUASH = Compression(ratio=4.0, threshold_dbfs=-30.0)
BANDS = Compression(ratio=4.0, threshold_dbfs=-30.0, band_count=4)
WARM = PROFILES[EqProfile.WARM]


def limiter(mode: LimiterMode) -> Build:
    """Builds a limiter that has much to do."""
    return lambda rate, count: Limiter(rate, count, 0.1, times(mode, 5.0, 80.0, rate), 2.0)


PROCESSORS: dict[str, Build] = {
    "offset": lambda _, count: Offset(np.full(count, 0.1, np.float32)),
    "gain": lambda _, count: Gain(0.5, count),
    "rumble": lambda rate, count: rumble_filter(20.0, rate, count),
    "blocker": blocker,
    "equalizer": lambda rate, count: equalizer(WARM[:1], EqPhase.MINIMUM, rate, count),
    "linear equalizer": lambda rate, count: equalizer(WARM[:1], EqPhase.LINEAR, rate, count),
    "compressor": lambda rate, count: Compressor(rate, count, SQUASH),
    "multiband": lambda rate, count: MultibandCompressor(rate, count, BANDS),
    "saturation": lambda rate, count: Saturation(rate, count, 50.0, 1.0),
    "width": lambda rate, count: StereoWidth(rate, count, Width(170.0, 120.0, 0.0)),
    "clipper": lambda _, count: clipper(count, -12.0),
    "quantizer": lambda rate, count: Quantizer(Resolution(16), rate, count),
    "shaped quantizer": lambda rate, count: Quantizer(
        Resolution(16, dither=Dither.SHAPED), rate, count
    ),
    "follower": lambda rate, count: Follower(Format(rate, count), -14.0),
    "live": lambda rate, count: LiveMaster(MasteringPlan(), Format(rate, count)),
    **{f"{mode.value} limiter": limiter(mode) for mode in LimiterMode if mode.value != "none"},
}
# Those that pass what is quiet, wide and centred as it came.
BLACK = [name for name in PROCESSORS if name != "offset"]

each = pytest.mark.parametrize("name", PROCESSORS)


def music(seconds: float, count: int = 2, rate: int = 44100) -> Samples:
    """Something with transients, tones and a quiet end."""
    sound = signals.noise(seconds, 3, count, rate)
    sound += 0.3 * signals.sine(0.0, seconds, count, 220.0, rate)
    sound[len(sound) // 2 :] *= 0.02
    return sound


@each
def test_block_size_is_of_no_effect(name: str) -> None:
    """The same frames in other blocks give the same bits."""
    sound = music(0.25)
    whole = processed(PROCESSORS[name](44100, 2), sound)
    for size in (63, 64, 65, 4096, 8191, 8192, 8193):
        assert np.array_equal(whole, processed(PROCESSORS[name](44100, 2), sound, size)), size
    short = sound[:2000]
    whole = processed(PROCESSORS[name](44100, 2), short)
    assert np.array_equal(whole, processed(PROCESSORS[name](44100, 2), short, 1))


@each
def test_as_many_frames_come_out_as_went_in(name: str) -> None:
    """Whatever the length, also one frame and none."""
    for count in (0, 1, 2, 63, 64, 65, 5000):
        assert len(processed(PROCESSORS[name](44100, 2), music(0.2)[:count])) == count


@each
def test_output_lies_behind_by_at_most_the_latency_told(name: str) -> None:
    """After every block all but `latency_frames` have come out."""
    processor = PROCESSORS[name](44100, 2)
    sound, out = music(0.5), 0
    for start in range(0, len(sound), 777):
        out += len(processor.process(sound[start : start + 777]))
        assert out >= min(len(sound), start + 777) - processor.latency_frames


@each
def test_sound_is_not_moved_in_time(name: str) -> None:
    """What comes out correlates best with what went in where it stood: delay is taken out."""
    sound = signals.noise(0.5, 5)
    out = processed(PROCESSORS[name](44100, 2), sound)
    middle = slice(2000, -2000)

    shifts = range(-40, 41)
    alike = [
        float(np.sum(np.roll(out, shift, axis=0)[middle, 0] * sound[middle, 0])) for shift in shifts
    ]
    # The all-passes of crossovers turn phase: at 5 kHz by about three frames.
    assert abs(shifts[int(np.argmax(alike))]) <= (4 if name == "multiband" else 0)


@pytest.mark.parametrize("name", BLACK)
def test_silence_stays_silence(name: str) -> None:
    """Digital black in, digital black out."""
    assert not processed(PROCESSORS[name](44100, 2), signals.silence(0.2)).any()


@each
def test_every_result_is_finite(name: str) -> None:
    """At full scale, in squares and in denormals."""
    square = np.sign(signals.sine(0.0, 0.2, 2, 100.0))
    tiny = np.full((5000, 2), 1e-40, np.float32)
    for sound in (square, -np.ones_like(square), tiny):
        assert np.isfinite(processed(PROCESSORS[name](44100, 2), sound)).all()


@each
@pytest.mark.parametrize(("rate", "count"), [(8000, 1), (48000, 6), (96000, 2), (192000, 2)])
def test_any_rate_and_channel_count(name: str, rate: int, count: int) -> None:
    """From 8 to 192 kHz, mono to 5.1."""
    sound = music(0.1, count, rate)
    out = processed(PROCESSORS[name](rate, count), sound)
    assert out.shape == sound.shape
    assert np.isfinite(out).all()
    assert out.any()


@each
def test_processors_share_nothing(name: str) -> None:
    """Many at once on threads give what one gives alone."""
    sounds = [signals.noise(0.2, seed) for seed in range(6)]

    def run(sound: Samples) -> Samples:
        return processed(PROCESSORS[name](44100, 2), sound, 1000)

    alone = [run(sound) for sound in sounds]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(run, sounds))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_sequence_is_its_parts_in_order() -> None:
    """Chained processors give what running one after the other gives, and add their latencies."""
    names = ["equalizer", "compressor", "width", "transparent limiter"]
    sound = music(0.5)
    chained = Sequenced([PROCESSORS[name](44100, 2) for name in names])
    assert chained.latency_frames == sum(PROCESSORS[n](44100, 2).latency_frames for n in names)
    expected = sound
    for name in names:
        expected = processed(PROCESSORS[name](44100, 2), expected)
    assert np.array_equal(processed(chained, sound, 1000), expected)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(wrong: float) -> None:
    """The frame is counted from the start of the sound."""
    block = music(0.1)
    require_finite(block, 0)
    block[17, 1] = wrong
    with pytest.raises(NotFinite) as caught:
        require_finite(block, 1000)
    assert caught.value.frame == 1017
    live = LiveMaster(MasteringPlan(), Format(44100, 2))
    live.process(music(0.1))
    with pytest.raises(NotFinite) as caught:
        live.process(block)
    assert caught.value.frame == 4410 + 17


@each
def test_decay_into_denormals_costs_no_time(name: str) -> None:
    """After a note come exact zeros within three seconds of black: no state lingers."""
    sound = np.concatenate([music(0.1), signals.silence(3.0)])
    out = processed(PROCESSORS[name](44100, 2), sound)
    tail = out[-1000:]
    assert not ((tail != 0.0) & (np.abs(tail) < 1e-37)).any()
