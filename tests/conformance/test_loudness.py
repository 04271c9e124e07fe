"""Loudness against the standards' own signals: EBU Tech 3341 and Tech 3342, ITU-R BS.2217.

Signals are built here from their definitions. Where the test material is at hand, the files that
its own generator writes are measured too, and recordings with a published loudness.
"""

import json
import math
import runpy
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import signals
import soundfile
from chorale_mastering.loudness import Loudness
from chorale_mastering.meter import Meter
from signals import Signal

pytestmark = pytest.mark.xdist_group("loudness")  # what is heard is heard once

RATE_HZ = 48000
LOUDNESS_TOLERANCE_LU = 0.1
RANGE_TOLERANCE_LU = 1.0
PEAK_TOLERANCE_DB = (-0.4, 0.2)


def measured(signal: Signal, rate_hz: int = RATE_HZ) -> Loudness:
    """Measures the whole signal, with a curve of one point every 100 ms."""
    meter = Meter(rate_hz, signal.shape[1], curve_points=1_000_000)
    meter.push(signal)
    meter.finish()
    return meter.read()


def tone(*levels: tuple[float | None, float], channel_count: int = 2) -> Signal:
    """The 1 kHz tone of Tech 3341 through successive levels."""
    return signals.steps(levels, channel_count, rate_hz=RATE_HZ)


def surround(with_lfe: bool) -> Signal:
    """Tech 3341 case 6: L R -28, C -24, (LFE silent,) Ls Rs -30 dBFS."""
    front, centre, side = (
        signals.sine(level, 20, count, rate_hz=RATE_HZ)
        for level, count in ((-28, 2), (-24, 1), (-30, 2))
    )
    lfe = [signals.silence(20, 1, RATE_HZ)] if with_lfe else []
    return np.concatenate([front, centre, *lfe, side], axis=1)


# Made when asked for: whoever only collects this file hears nothing.
INTEGRATED: dict[str, Callable[[], Signal]] = {
    "1": lambda: tone((-23, 20)),
    "2": lambda: tone((-33, 20)),
    "3": lambda: tone((-36, 10), (-23, 60), (-36, 10)),
    "4": lambda: tone((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)),
    "5": lambda: tone((-26, 20), (-20, 20.1), (-26, 20)),
    "6, five channels": lambda: surround(with_lfe=False),
    "6, six channels": lambda: surround(with_lfe=True),
}


@cache
def integrated_case(case: str) -> Loudness:
    """One of these, measured once."""
    return measured(INTEGRATED[case]())


@pytest.mark.parametrize("case", INTEGRATED)
def test_integrated_loudness(case: str) -> None:
    """Tech 3341 cases 1 to 6 read -23.0 LUFS (case 2: -33.0) within 0.1 LU."""
    expected = -33.0 if case == "2" else -23.0
    found = integrated_case(case).integrated_lufs
    assert found == pytest.approx(expected, abs=LOUDNESS_TOLERANCE_LU)


def test_a_loud_lfe_does_not_count() -> None:
    """The low-frequency effects have no weight, however loud they are."""
    loud = surround(with_lfe=True)
    loud[:, 3] = signals.sine(-6, 20, 1, rate_hz=RATE_HZ)[:, 0]
    quiet = integrated_case("6, six channels").integrated_lufs
    assert measured(loud).integrated_lufs == pytest.approx(quiet, abs=1e-9)


@pytest.mark.parametrize(("case", "from_seconds"), [("1", 3.0), ("2", 3.0)])
def test_short_term_and_momentary_of_a_steady_tone(case: str, from_seconds: float) -> None:
    """In Tech 3341 cases 1 and 2 momentary and short-term loudness stand at the level."""
    expected = -23.0 if case == "1" else -33.0
    curve = integrated_case(case).curve
    assert curve is not None
    start = round(from_seconds * 10)
    for values in (curve.momentary_lufs[start:], curve.short_term_lufs[start:]):
        assert np.allclose(values, expected, atol=LOUDNESS_TOLERANCE_LU)


def test_short_term_loudness_is_constant() -> None:
    """Tech 3341 case 9: short-term loudness is -23.0 LUFS at every moment from 3 s on."""
    curve = measured(tone(*([(-20, 1.34), (-30, 1.66)] * 5))).curve
    assert curve is not None
    assert np.allclose(curve.short_term_lufs[30:], -23.0, atol=LOUDNESS_TOLERANCE_LU)


def test_momentary_loudness_is_constant() -> None:
    """Tech 3341 case 12: momentary loudness is -23.0 LUFS at every moment from 1 s on."""
    curve = measured(tone(*([(-20, 0.18), (-30, 0.22)] * 25))).curve
    assert curve is not None
    assert np.allclose(curve.momentary_lufs[10:], -23.0, atol=LOUDNESS_TOLERANCE_LU)


@pytest.mark.parametrize("number", range(1, 21))
def test_maximum_short_term_loudness(number: int) -> None:
    """Tech 3341 case 10: 3 s of tone, wherever they begin, reach -23.0 LUFS."""
    signal = tone((None, (number - 1) * 0.15), (-23, 3), (None, 1))
    found = measured(signal).short_term_max_lufs
    assert found == pytest.approx(-23.0, abs=LOUDNESS_TOLERANCE_LU)


@pytest.mark.parametrize("number", range(1, 21))
def test_maximum_momentary_loudness(number: int) -> None:
    """Tech 3341 case 13: 400 ms of tone, wherever they begin, reach -23.0 LUFS."""
    signal = tone((None, (number - 1) * 0.02), (-23, 0.4), (None, 1))
    found = measured(signal).momentary_max_lufs
    assert found == pytest.approx(-23.0, abs=LOUDNESS_TOLERANCE_LU)


def successive_maxima(tone_seconds: float, step_seconds: float, attribute: str) -> list[float]:
    """The maxima after each of the 20 tones of Tech 3341 cases 11 and 14, each 1 dB louder."""
    meter = Meter(RATE_HZ, 2)
    found = []
    for number in range(20):
        before, after = number * step_seconds, tone_seconds - number * step_seconds
        meter.push(tone((None, before), (-38 + number, tone_seconds), (None, after)))
        found.append(getattr(meter.read(), attribute))
    return found


def test_successive_maxima_of_short_term_loudness() -> None:
    """Tech 3341 case 11: maxima of -38 to -19 LUFS, one after the other."""
    found = successive_maxima(3.0, 0.15, "short_term_max_lufs")
    assert np.allclose(found, np.arange(-38.0, -18.0), atol=LOUDNESS_TOLERANCE_LU)


def test_successive_maxima_of_momentary_loudness() -> None:
    """Tech 3341 case 14: maxima of -38 to -19 LUFS, one after the other."""
    found = successive_maxima(0.4, 0.02, "momentary_max_lufs")
    assert np.allclose(found, np.arange(-38.0, -18.0), atol=LOUDNESS_TOLERANCE_LU)


PEAK_TONES = {  # case: (hertz as a fraction of the rate, phase in degrees, peak, expected dBTP)
    "15": (1 / 4, 0.0, 10 ** (-6 / 20), -6.0),
    "16": (1 / 4, 45.0, 10 ** (-6 / 20), -6.0),
    "17": (1 / 6, 60.0, 10 ** (-6 / 20), -6.0),
    "18": (1 / 8, 67.5, 10 ** (-6 / 20), -6.0),
    "19": (1 / 4, 45.0, math.sqrt(2.0), 3.0),
}


def faded(samples: Signal, frames: int) -> Signal:
    """Fades in and out, so that the ends add no peak of their own."""
    ramp = (np.arange(frames) / frames).astype(np.float32)[:, None]
    samples = samples.copy()
    samples[:frames] *= ramp
    samples[-frames:] *= ramp[::-1]
    return samples


@pytest.mark.parametrize("case", PEAK_TONES)
def test_true_peak_of_a_tone(case: str) -> None:
    """Tech 3341 cases 15 to 19: peaks between the samples, within +0.2 and -0.4 dB."""
    fraction, degrees, peak, expected = PEAK_TONES[case]
    signal = signals.sine(20 * math.log10(peak), 3.2, 2, fraction * RATE_HZ, RATE_HZ, degrees)
    found = measured(faded(signal, 4800)).true_peak_dbtp
    assert PEAK_TOLERANCE_DB[0] <= found - expected <= PEAK_TOLERANCE_DB[1]


def burst(offset: int) -> Signal:
    """Tech 3341 cases 20 to 23: one louder cycle of fs/4 in a tone of fs/6, sampled at 4 fs.

    Brick-wall filtered to fs/2 and decimated with this offset, in 0 to 3.
    """
    quiet = 10 ** (-6 / 20)
    before, after = (np.sin(2 * np.pi * np.arange(24 * n) / 24) for n in (12080, 13520))
    cycle = np.sin(2 * np.pi * np.arange(16) / 16)
    line = np.concatenate([quiet * before, cycle, quiet * after])
    ramp = np.arange(19200) / 19200
    line[:19200] *= ramp
    line[-19200:] *= ramp[::-1]
    spectrum = np.fft.rfft(line)
    spectrum[len(spectrum) // 4 :] = 0
    return signals.channels(np.fft.irfft(spectrum, len(line))[offset::4], 2)


@pytest.mark.parametrize("offset", range(4))
def test_true_peak_of_a_burst(offset: int) -> None:
    """Tech 3341 cases 20 to 23: a burst of 0 dBTP, whatever the sampling caught of it."""
    found = measured(burst(offset)).true_peak_dbtp
    assert PEAK_TOLERANCE_DB[0] <= found <= PEAK_TOLERANCE_DB[1]


@pytest.mark.parametrize(
    ("case", "levels", "expected"),
    [
        ("1", [(-20, 20), (-30, 20)], 10.0),
        ("2", [(-20, 20), (-15, 20)], 5.0),
        ("3", [(-40, 20), (-20, 20)], 20.0),
        ("4", [(-50, 20), (-35, 20), (-20, 20), (-35, 20), (-50, 20)], 15.0),
    ],
)
def test_loudness_range(case: str, levels: list[tuple[float, float]], expected: float) -> None:
    """Tech 3342 cases 1 to 4: loudness range within 1 LU."""
    found = measured(tone(*levels)).range_lu
    assert found == pytest.approx(expected, abs=RANGE_TOLERANCE_LU)


@pytest.fixture(scope="module")
def generated(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Any]:
    """The files of the test material's own generator, with what each must read."""
    folder = tmp_path_factory.mktemp("ebu")
    arguments, sys.argv = sys.argv, ["make_ebu.py", str(folder)]
    try:
        runpy.run_path(str(testdata / "tools" / "make_ebu.py"), run_name="__main__")
    finally:
        sys.argv = arguments
    expected = json.loads((folder / "expected.json").read_text())
    return {folder / f"{name}.wav": truth for name, truth in expected.items()}


@pytest.mark.slow
def test_generated_files(generated: dict[Path, Any]) -> None:
    """Every file of the generator reads what its definition says."""
    wrong = []
    for path, truth in generated.items():
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        wrong += [f"{path.stem} {what}" for what in _differences(measured(samples, rate_hz), truth)]
    assert not wrong
    assert len(generated) >= 35


def _differences(found: Loudness, truth: dict[str, Any]) -> list[str]:
    numbers = {
        "I": found.integrated_lufs,
        "LRA": found.range_lu,
        "Mmax": found.momentary_max_lufs,
        "Smax": found.short_term_max_lufs,
    }
    wrong = [
        f"{key}: {value}, not {truth[key]}"
        for key, value in numbers.items()
        if isinstance(truth.get(key), float)
        and (value is None or abs(value - truth[key]) > truth["tol"])
    ]
    if truth.get("I") in ("-inf", "undefined") and found.integrated_lufs is not None:
        wrong.append(f"I: {found.integrated_lufs}, not {truth['I']}")
    if "TP" in truth:
        off = found.true_peak_dbtp - truth["TP"]
        if not -truth["tol_down"] <= off <= truth["tol_up"]:
            wrong.append(f"TP: {found.true_peak_dbtp}, not {truth['TP']}")
    return wrong


def test_compliance_material(testdata: Path) -> None:
    """The relative-gate file of the ITU's compliance material reads -10.0 LUFS within 0.1 LU."""
    path = testdata / "real" / "real_itu_relgate.flac"
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    found = measured(samples, rate_hz).integrated_lufs
    assert found == pytest.approx(-10.0, abs=LOUDNESS_TOLERANCE_LU)
