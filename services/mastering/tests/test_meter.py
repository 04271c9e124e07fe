"""Properties of the loudness meter."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import signals
from chorale_mastering.loudness import Loudness, NotFinite, TooShort, require_window
from chorale_mastering.meter import Meter
from chorale_mastering.true_peak import OVERSAMPLING, TruePeak, interpolator
from chorale_mastering.weighting import CHANNEL_WEIGHTS, highpass, shelf
from signals import RATE_HZ, Signal

BLOCK_FRAMES = (63, 64, 65, 4096, 8191)


def measured(
    signal: Signal, rate_hz: int = RATE_HZ, block_frames: int = 1 << 20, curve_points: int = 0
) -> Loudness:
    """Measures a signal in blocks of so many frames."""
    meter = Meter(rate_hz, signal.shape[1], curve_points=curve_points)
    for start in range(0, len(signal), block_frames):
        meter.push(signal[start : start + block_frames])
    meter.finish()
    return meter.read()


def music(seconds: float = 4.0, channel_count: int = 2, rate_hz: int = RATE_HZ) -> Signal:
    """Something with dynamics: noise that swells and stops."""
    sound = signals.pink_noise(seconds, 1, channel_count, rate_hz)
    time = np.arange(len(sound)) / rate_hz
    swell = np.where(time % 1.5 < 1.2, np.sin(2.1 * time) ** 2, 0.0)
    return (3.0 * sound * swell[:, None]).astype(np.float32)


@pytest.mark.parametrize("block_frames", BLOCK_FRAMES)
@pytest.mark.parametrize(("rate_hz", "channel_count"), [(44100, 2), (22050, 1), (48000, 6)])
def test_blocks_do_not_matter(block_frames: int, rate_hz: int, channel_count: int) -> None:
    """However the sound is cut, every measure has the same bits, the curve too."""
    sound = music(3.2, channel_count, rate_hz)
    whole = measured(sound, rate_hz, curve_points=500)
    # So many frames are cut: all that blocks cross (hops, windows, gates) is crossed there.
    cut_frames = max(rate_hz, 3 * block_frames)
    meter = Meter(rate_hz, channel_count, curve_points=500)
    for start in range(0, cut_frames, block_frames):
        meter.push(sound[start : min(start + block_frames, cut_frames)])
    meter.push(sound[cut_frames:])
    meter.finish()
    assert meter.read() == whole


@pytest.mark.parametrize("channel_count", [1, 2, 6])
def test_frames_may_come_one_by_one(channel_count: int) -> None:
    """Five hundred single frames amid larger blocks change not one bit."""
    sound = music(1.7, channel_count)
    meter = Meter(RATE_HZ, channel_count)
    middle = len(sound) // 2
    pieces = [sound[:middle], *(sound[at : at + 1] for at in range(middle, middle + 500))]
    for piece in [*pieces, sound[middle + 500 :]]:
        meter.push(piece)
    meter.finish()
    assert meter.read() == measured(sound)


def test_the_filter_is_the_standards() -> None:
    """At 48 kHz the two stages have the coefficients of BS.1770-5, Annex 1, tables 1 and 2."""
    first, second = shelf(48000), highpass(48000)
    found = (first.b0, first.b1, first.b2, first.a1, first.a2, second.a1, second.a2)
    table = (
        1.53512485958697,
        -2.69169618940638,
        1.19839281085285,
        -1.69065929318241,
        0.73248077421585,
        -1.99004745483398,
        0.99007225036621,
    )
    assert np.allclose(found, table, atol=1e-9)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 32000, 44100, 88200, 96000, 192000])
def test_the_rate_does_not_matter(rate_hz: int) -> None:
    """A tone of -23 dBFS at 997 Hz is -23.0 LUFS at every rate, and its true peak -23 dBTP."""
    found = measured(signals.sine(-23, 4, hertz=997, rate_hz=rate_hz), rate_hz)
    assert found.integrated_lufs == pytest.approx(-23.0, abs=0.06)
    assert found.short_term_max_lufs == pytest.approx(-23.0, abs=0.06)
    assert found.true_peak_dbtp == pytest.approx(-23.0, abs=0.05)


def test_gain_is_loudness() -> None:
    """Half the amplitude is 6.02 LU and 6.02 dB less, of every measure; ranges stay."""
    sound = music()
    loud, soft = measured(sound), measured(sound * np.float32(0.5))
    step = 20 * np.log10(2)
    assert loud.integrated_lufs is not None
    assert soft.integrated_lufs == pytest.approx(loud.integrated_lufs - step, abs=1e-6)
    assert soft.true_peak_dbtp == pytest.approx(loud.true_peak_dbtp - step, abs=1e-5)
    assert soft.range_lu == pytest.approx(loud.range_lu, abs=1e-6)
    assert soft.peak_to_loudness_lu == pytest.approx(loud.peak_to_loudness_lu, abs=1e-5)
    assert soft.stereo_correlation == pytest.approx(loud.stereo_correlation, abs=1e-9)


def test_polarity_and_sides_do_not_matter() -> None:
    """Turning the wave over, or left and right round, changes no loudness."""
    sound = music()
    whole = measured(sound)
    turned, swapped = measured(-sound), measured(sound[:, ::-1])
    assert turned.integrated_lufs == whole.integrated_lufs
    assert swapped.integrated_lufs == pytest.approx(whole.integrated_lufs, abs=1e-12)
    assert swapped.channel_true_peaks_dbtp == whole.channel_true_peaks_dbtp[::-1]
    assert measured(sound * np.array([1, -1], np.float32)).stereo_correlation == pytest.approx(
        -whole.stereo_correlation
    )


def test_channels_add_their_power() -> None:
    """The same sound in both channels is 3.01 LU louder than in one, and correlates fully."""
    mono = music(channel_count=1)
    one, both = measured(mono), measured(np.repeat(mono, 2, axis=1))
    assert one.integrated_lufs is not None
    assert both.integrated_lufs == pytest.approx(one.integrated_lufs + 10 * np.log10(2), abs=1e-9)
    assert both.stereo_correlation == pytest.approx(1.0)


@pytest.mark.parametrize("channel_count", CHANNEL_WEIGHTS)
def test_every_layout_weighs_its_channels(channel_count: int) -> None:
    """A tone in one channel alone is as loud as that channel's weight says; an LFE is silent."""
    reference = measured(signals.sine(-20, 1, 1)).integrated_lufs
    assert reference is not None
    for channel, weight in enumerate(CHANNEL_WEIGHTS[channel_count]):
        sound = signals.silence(1, channel_count)
        sound[:, channel] = signals.sine(-20, 1, 1)[:, 0]
        found = measured(sound).integrated_lufs
        if weight == 0.0:
            assert found is None
        else:
            assert found == pytest.approx(reference + 10 * np.log10(weight), abs=1e-6)


def test_silence_has_no_loudness() -> None:
    """Digital black has no loudness and no peak, and nothing divides by zero."""
    found = measured(signals.silence(5))
    assert found.integrated_lufs is None
    assert found.range_lu is None
    assert found.momentary_max_lufs is None
    assert found.peak_to_loudness_lu is None
    assert found.peak_to_short_term_lu is None
    assert found.true_peak_dbtp == found.sample_peak_dbfs == -np.inf
    assert (found.stereo_correlation, found.dynamic_range_db) == (1.0, 0.0)


def test_a_constant_is_not_heard() -> None:
    """DC is filtered out: soon nothing is above the gate, while the peak tells of it."""
    sound = np.full((10 * RATE_HZ, 2), 0.5, np.float32)
    found = measured(sound)
    assert found.sample_peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert found.true_peak_dbtp < -4.5  # it overshoots where it begins and ends
    settled = measured(np.concatenate([sound, sound]))
    assert settled.integrated_lufs is not None
    assert settled.integrated_lufs < -20.0


def test_little_is_measured_as_far_as_it_goes() -> None:
    """Below 400 ms there is no loudness, below 3 s no short-term loudness; peaks always."""
    sound = signals.sine(-20, 2)
    short = measured(sound[: round(0.39 * RATE_HZ)])
    assert short.integrated_lufs is None
    assert short.momentary_max_lufs is None
    assert short.true_peak_dbtp == pytest.approx(-20.0, abs=0.1)
    longer = measured(sound)
    assert longer.integrated_lufs == pytest.approx(-20.0, abs=0.1)
    assert longer.short_term_max_lufs is None
    assert longer.range_lu is None
    assert measured(sound[:0]).true_peak_dbtp == -np.inf
    assert measured(sound[:1]).frame_count == 1


def test_the_window_needed_is_400_ms() -> None:
    """`require_window` refuses less, with both numbers."""
    require_window(17640, RATE_HZ)
    with pytest.raises(TooShort, match=r"17639 frames.*17640"):
        require_window(17639, RATE_HZ)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("frame", [0, 100, 65535, 65536, 70000])
def test_what_is_not_finite_is_refused(value: float, frame: int) -> None:
    """NaN and infinity raise, and the frame is named."""
    sound = signals.noise(2, 1)
    sound[frame, 1] = value
    with pytest.raises(NotFinite) as caught:
        measured(sound, block_frames=10007)
    assert caught.value.frame == frame


def test_denormals_cost_nothing() -> None:
    """After a loud start, silence and denormal noise are measured as fast as music."""
    sound = music(6.0)
    faint = signals.noise(6, 1) * np.float32(1e-38)
    faint[:100] = 1.0
    measured(sound)  # compile
    seconds = [min(_cpu_seconds(each) for _ in range(3)) for each in (sound, faint)]
    assert seconds[1] < 3.0 * seconds[0] + 0.01


def _cpu_seconds(sound: Signal) -> float:
    import time

    started = time.thread_time()
    measured(sound)
    return time.thread_time() - started


def test_threads_do_not_disturb_each_other() -> None:
    """Meters on several threads at once read what each reads alone."""
    sounds = [music(2.0) * np.float32(gain) for gain in (0.1, 0.3, 1.0, 0.7)]
    alone = [measured(sound) for sound in sounds]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda sound: measured(sound, block_frames=1000), sounds))
    assert together == alone


def test_a_live_reading_is_the_present() -> None:
    """Momentary and short-term loudness follow the level within their windows."""
    meter = Meter(RATE_HZ, 2)
    assert meter.momentary_lufs == -np.inf
    meter.push(signals.sine(-20, 3))
    assert meter.momentary_lufs == pytest.approx(-20.0, abs=0.1)
    assert meter.short_term_lufs == pytest.approx(-20.0, abs=0.1)
    meter.push(signals.sine(-40, 0.5))
    assert meter.momentary_lufs == pytest.approx(-40.0, abs=0.3)
    assert meter.short_term_lufs > -22.0
    assert meter.frame_count == round(3.5 * RATE_HZ)


def test_reading_does_not_disturb() -> None:
    """A meter that is read at every block ends where one does that is read once."""
    sound = music()
    meter = Meter(RATE_HZ, 2)
    for start in range(0, len(sound), 4410):
        meter.push(sound[start : start + 4410])
        meter.read()
    meter.finish()
    assert meter.read() == measured(sound)


def test_memory_stays_flat() -> None:
    """Ten minutes more sound need less than 0.2 MB more: the gates' energies, nothing else."""
    import tracemalloc

    second = music(1.0, 1, 8000)
    meter = Meter(8000, 1)
    meter.push(second)
    tracemalloc.start()
    held = []
    for _ in range(2):
        for _ in range(300):
            meter.push(second)
        meter.read()
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[1] - held[0] < 200_000


@pytest.mark.parametrize("seed", range(5))
def test_true_peak_skips_nothing(seed: int) -> None:
    """Leaving out what cannot be the peak gives what full interpolation gives."""
    draw = np.random.default_rng(seed)
    sound = draw.uniform(-1, 1, (3000, 1)).astype(np.float32)
    sound[draw.integers(0, 3000, 2000)] *= np.float32(0.1)
    padded = np.concatenate([np.zeros(23), sound[:, 0], np.zeros(23)])
    taps = interpolator().astype(float)
    full = max(np.abs(np.convolve(padded, phase[::-1], "valid")).max() for phase in taps)
    peak = TruePeak(RATE_HZ, 1)
    peak.push(sound)
    peak.finish()
    assert peak.true_peaks[0] == pytest.approx(max(full, np.abs(sound).max()), rel=1e-5)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.4, 0.45])
def test_true_peak_finds_tones_between_samples(fraction: float) -> None:
    """Of a tone at any phase the true peak misses at most what 4 x oversampling must miss."""
    at_most = -20 * np.log10(np.cos(np.pi * fraction / OVERSAMPLING)) + 0.02
    for degrees in range(0, 180, 15):
        tone = signals.sine(0.0, 0.2, 1, fraction * RATE_HZ, phase_degrees=degrees)
        tone *= np.hanning(len(tone)).astype(np.float32)[:, None] ** 0.25
        found = measured(np.concatenate([tone, tone])).true_peak_dbtp
        assert -at_most <= found <= 0.05


def test_dynamic_range_is_the_spread_of_levels() -> None:
    """Half loud, half 20 dB softer: 20 dB; a steady tone: none."""
    both = np.concatenate([signals.sine(-10, 3), signals.sine(-30, 3)])
    assert measured(both).dynamic_range_db == pytest.approx(20.0, abs=0.2)
    assert measured(signals.sine(-10, 3)).dynamic_range_db == pytest.approx(0.0, abs=0.01)


def test_peak_to_short_term_is_the_least() -> None:
    """A tone's peak stands 0 dB over its loudness (1 kHz, stereo); a lone click raises no floor."""
    sound = signals.sine(-20, 8, hertz=997)
    sound[-1000] = 1.0
    found = measured(sound).peak_to_short_term_lu
    assert found == pytest.approx(0.0, abs=0.1)
