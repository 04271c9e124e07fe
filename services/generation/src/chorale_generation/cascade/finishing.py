"""What is done to decoded sound: its level, its peaks, and tones that stand out alone.

All of it looks at one window alone, so that what is heard while more is made stays as it is.
"""

import numpy as np
import numpy.typing as npt
from scipy.signal import filtfilt, iirnotch

from chorale_generation.cascade.asked import CascadeWishes

Mono = npt.NDArray[np.float32]
Sound = npt.NDArray[np.float32]  # (frames, channels)

_LOUDER_MAX = 3.0
_PEAK = 0.9
_NOTCHES_MAX, _QUALITY, _LOWEST_HZ = 10, 30.0, 50.0
_PERCENTILE, _NEIGHBOURHOOD = 99.5, 64
_STANDS_OUT = 8.0  # times as loud as the bins around it


def finished(
    sound: Sound, reference: Sound, wishes: CascadeWishes, sample_rate_hz: int
) -> tuple[Sound, tuple[float, ...]]:
    """A window with its level and peaks seen to, and the tones that were taken out, in Hz."""
    notches: list[float] = []
    if wishes.notch_outliers:
        sound, notches = notched(sound, sample_rate_hz)
    if wishes.match_level:
        sound = matched(sound, reference)
    return soft_limited(sound), tuple(notches)


def matched(sound: Sound, reference: Sound) -> Sound:
    """At the RMS of a reference, at most three times louder than it was."""
    ours, theirs = (float(np.sqrt(np.mean(np.square(each)))) for each in (sound, reference))
    made: Sound = sound * np.float32(min(_LOUDER_MAX, theirs / max(ours, 1e-9)))
    return made


def soft_limited(sound: Sound) -> Sound:
    """Turned down as a whole until its highest peak is .9, where it is higher."""
    peak = float(np.abs(sound).max(initial=0.0))
    made: Sound = sound * np.float32(_PEAK / peak) if peak > _PEAK else sound
    return made


def notched(sound: Sound, sample_rate_hz: int) -> tuple[Sound, list[float]]:
    """Without lone frequencies that stand above all others; and which they were, in Hz."""
    window = np.hanning(len(sound))[:, None]
    spectrum = np.sqrt(np.square(np.abs(np.fft.rfft(sound * window, axis=0))).sum(1))
    hertz = np.fft.rfftfreq(len(sound), 1.0 / sample_rate_hz)
    limit = float(np.percentile(spectrum, _PERCENTILE))
    found: list[float] = []
    for place in np.argsort(-spectrum)[: 50 * _NOTCHES_MAX].tolist():
        is_high = spectrum[place] > limit and hertz[place] >= _LOWEST_HZ
        is_near = any(abs(hertz[place] - each) < each / _QUALITY for each in found)
        if not is_high or is_near or len(found) == _NOTCHES_MAX:
            continue
        around = spectrum[max(0, place - _NEIGHBOURHOOD) : place + _NEIGHBOURHOOD]
        if spectrum[place] > _STANDS_OUT * np.percentile(around, 90):
            found.append(float(hertz[place]))
    made = sound.astype(np.float64)
    for frequency in found:
        if frequency < 0.49 * sample_rate_hz:
            made = filtfilt(*iirnotch(frequency, _QUALITY, sample_rate_hz), made, axis=0)
    return made.astype(np.float32), found
