"""Bytes of PCM to signals and back."""

import numpy as np
import pytest
import signals
from chorale_audio.pcm import Encoding, decoded, encoded, mixed
from chorale_audio.shaping import Shaper
from chorale_audio.source import Source, Store

STORE = Store("127.0.0.1:1", "key", "secret", "bucket")


def source(rate_hz: int, channel_count: int, frame_count: int = 1000) -> Source:
    """A source that is not read."""
    return Source("audio/x", "pcm/x", Encoding.F32LE, rate_hz, channel_count, 0, frame_count, STORE)


def test_floats_come_back() -> None:
    """Encoding and decoding float PCM gives the same bits, and copies nothing on the way in."""
    block = signals.noise(0.1, 1, 3)
    data = encoded(block)
    again = decoded(data, Encoding.F32LE, 3)
    assert np.array_equal(again, block)
    assert not again.flags.owndata
    assert len(data) == block.size * Encoding.F32LE.sample_bytes


def test_integers_are_scaled_to_one() -> None:
    """16-bit full scale is 1.0: -32768 reads -1.0 and 32767 just less than 1.0."""
    data = np.array([-32768, 0, 16384, 32767], "<i2").tobytes()
    assert decoded(data, Encoding.S16LE, 2).tolist() == [[-1.0, 0.0], [0.5, 32767 / 32768]]


def test_mixing_weighs_channels_alike() -> None:
    """One channel is the mean of all; one alone is passed on as it is."""
    block = signals.noise(0.1, 2, 6)
    assert np.allclose(mixed(block)[:, 0], block.mean(axis=1), atol=1e-7)
    assert mixed(block).shape == (len(block), 1)
    mono = block[:, :1]
    assert mixed(mono) is mono


def test_a_source_tells_no_secrets() -> None:
    """Neither a source nor its store shows keys when printed."""
    assert "secret" not in repr(source(44100, 2))
    assert "secret" not in repr(STORE)
    assert "127.0.0.1:1" in repr(STORE)


def test_a_source_is_cut_within_itself() -> None:
    """A run within a run counts from its start and ends with it."""
    whole = source(44100, 2, 1000)
    part = whole.within(100, 5000)
    assert (part.start_frame, part.frame_count) == (100, 900)
    assert part.within(50, 10).start_frame == 150
    assert whole.frame_bytes == 8
    assert whole.duration_seconds == pytest.approx(1000 / 44100)


@pytest.mark.parametrize("block_frames", [63, 64, 65, 4096, 8191, 1 << 20])
@pytest.mark.parametrize(("rate_hz", "target_hz"), [(44100, 22050), (48000, 22050), (8000, 44100)])
def test_resampling_is_the_same_in_blocks(block_frames: int, rate_hz: int, target_hz: int) -> None:
    """However the sound is cut, it has the same samples at the other rate, and its length."""
    sound = signals.noise(1.0, 3, 2, rate_hz)

    def shaped(frames: int) -> signals.Signal:
        shaper = Shaper(source(rate_hz, 2), target_hz, mono=True)
        parts = [shaper.push(sound[at : at + frames]) for at in range(0, len(sound), frames)]
        return np.concatenate([*parts, shaper.finish()])

    whole, pieces = shaped(len(sound)), shaped(block_frames)
    assert abs(len(whole) - target_hz) <= 1
    assert len(pieces) == len(whole)
    assert np.allclose(pieces, whole, atol=1e-6)


def test_nothing_to_shape_is_no_copy() -> None:
    """At the rate and channels it has, sound is passed on as it is."""
    shaper, block = Shaper(source(44100, 2), None, mono=False), signals.noise(0.1, 1)
    assert shaper.push(block) is block
    assert shaper.finish().shape == (0, 2)
