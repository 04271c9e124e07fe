"""What is done to decoded sound: its level, its peaks, and tones that stand out alone."""

import numpy as np
import numpy.typing as npt
from scipy.signal import filtfilt, iirnotch

Mono = npt.NDArray[np.float32]

_LOUDER_MAX = 3.0
_PEAK = 0.9
_NOTCHES_MAX, _QUALITY, _LOWEST_HZ = 10, 30.0, 50.0
_PERCENTILE, _NEIGHBOURHOOD = 99.5, 64
_STANDS_OUT = 8.0  # times as loud as the bins around it


def matched(sound: Mono, reference: Mono) -> Mono:
    """At the RMS of a reference, at most three times louder than it was."""
    ours, theirs = (float(np.sqrt(np.mean(np.square(each)))) for each in (sound, reference))
    made: Mono = sound * np.float32(min(_LOUDER_MAX, theirs / max(ours, 1e-9)))
    return made


def soft_limited(sound: Mono) -> Mono:
    """Turned down as a whole until its highest peak is .9, where it is higher."""
    peak = float(np.abs(sound).max(initial=0.0))
    made: Mono = sound * np.float32(_PEAK / peak) if peak > _PEAK else sound
    return made


def notched(sound: Mono, sample_rate_hz: int) -> tuple[Mono, list[float]]:
    """Without lone frequencies that stand above all others; and which they were, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
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
            made = filtfilt(*iirnotch(frequency, _QUALITY, sample_rate_hz), made)
    return made.astype(np.float32), found
