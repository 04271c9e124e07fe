"""Codes: what goes in as sound comes out as Chromaprint, however it is cut."""

import importlib
import sys
from collections.abc import Callable

import numpy as np
import pytest
from chorale_fingerprint import codes
from chorale_fingerprint.codes import FRAMES_IN_CODE, CodeWriter, LibraryMissing


def _written(signal: np.ndarray, rate_hz: int, block: int) -> np.ndarray:
    writer = CodeWriter(rate_hz)
    for start in range(0, len(signal), block):
        writer.push(signal[start : start + block])
    return writer.finish()


@pytest.mark.parametrize("block", [1023, 1024, 1025, 65536])
@pytest.mark.parametrize("rate_hz", [11025, 22050, 44100])
def test_cutting_changes_nothing(
    make_song: Callable[..., np.ndarray], block: int, rate_hz: int
) -> None:
    """Codes depend on the sound and not on the blocks it came in."""
    signal = make_song(1)
    whole = _written(signal, rate_hz, len(signal))
    assert np.array_equal(_written(signal, rate_hz, block), whole)


def test_resampled_codes_are_the_librarys_own(make_song: Callable[..., np.ndarray]) -> None:
    """Of the bits that the library makes of the unresampled sound, 99.9 % are the same."""
    signal = make_song(2, 40.0)
    binding = importlib.import_module("chromaprint")
    printer = binding.Fingerprinter()
    printer.start(22050, 1)
    printer.feed(np.rint(np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes())
    theirs = np.array(binding.decode_fingerprint(printer.finish())[0], dtype=np.uint32)
    ours = _written(signal, 22050, 44100)
    assert len(ours) == len(theirs)
    assert np.bitwise_count(ours ^ theirs).mean() / 32 < 0.001


def test_louder_than_full_scale_is_clipped_and_not_wrapped(
    make_song: Callable[..., np.ndarray],
) -> None:
    """A song 3 dB over full scale keeps nearly all of its codes' bits."""
    song = make_song(3) / np.abs(make_song(3)).max()
    loud, plain = (_written((song * gain).astype(np.float32), 22050, 8192) for gain in (1.41, 1.0))
    assert np.bitwise_count(loud ^ plain).mean() / 32 < 0.05


@pytest.mark.parametrize("frame_count", [0, 1, 63, FRAMES_IN_CODE - 1])
def test_less_than_a_code_gives_none(frame_count: int) -> None:
    """Sound shorter than one code's reach has no codes, and does not fail."""
    assert len(_written(np.ones(frame_count, np.float32), 11025, 4096)) == 0


def test_one_reach_gives_one_code() -> None:
    """`FRAMES_IN_CODE` is exact: that many frames give the first code."""
    noise = np.random.default_rng(4).standard_normal(FRAMES_IN_CODE).astype(np.float32) * 0.1
    assert len(_written(noise, 11025, 4096)) == 1


def test_a_missing_library_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error carries the command that brings it."""
    monkeypatch.setitem(sys.modules, "chromaprint", None)  # Python's own way to say "not there"
    assert codes.library_version() is None
    with pytest.raises(LibraryMissing, match="apt-get install -y libchromaprint1") as caught:
        CodeWriter(11025)
    assert vars(caught.value)["missing"] == "libchromaprint.so.1"
