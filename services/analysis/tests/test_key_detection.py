"""Properties of key detection."""

import numpy as np
import pytest
import signals
from chorale_analysis.chroma import HOP, Chroma, ChromaListener
from chorale_analysis.key import correlations, detect_key
from chorale_analysis.spectra import RATE_HZ
from chorale_analysis.tonality import KEYS, KeySettings, Tonality, relation
from signals import Signal

BLOCK_FRAMES = (63, 64, 65, 4096, 8191, 1 << 20)


def heard(sound: Signal, block_frames: int = 1 << 16) -> Chroma:
    """Listens to the first channel, in blocks of so many frames."""
    listener = ChromaListener()
    for start in range(0, len(sound), block_frames):
        listener.push(sound[start : start + block_frames, 0])
    return listener.finish()


def detected(sound: Signal, **settings: float) -> Tonality:
    """Detects the key of a sound at the listening rate."""
    return detect_key(heard(sound), len(sound) / RATE_HZ, KeySettings(**settings))  # type: ignore[arg-type]


def cadence(key: str, repeats: int = 3) -> Signal:
    """A cadence in this key at the listening rate."""
    tonic, mode = key.split()
    return signals.cadence(tonic, mode, repeats, rate_hz=RATE_HZ)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_known(key: str) -> None:
    """A cadence in any of the 24 keys is in that key, more surely than not."""
    found = detected(cadence(key))
    assert found.key == key
    assert found.confidence > 0.5
    assert [(region.key, region.start_seconds) for region in found.regions] == [(key, 0.0)]


@pytest.mark.parametrize("block_frames", BLOCK_FRAMES)
def test_blocks_do_not_matter(block_frames: int) -> None:
    """However the sound is cut, the same classes sound."""
    sound = cadence("D minor", 1)
    whole, pieces = heard(sound), heard(sound, block_frames)
    assert np.allclose(pieces.classes, whole.classes, atol=1e-3)
    assert len(pieces.classes) == len(sound) // HOP + 1


@pytest.mark.parametrize("cents", [-40, -20, 0, 15, 35])
def test_tuning_does_not_matter(cents: float) -> None:
    """Music tuned away from A4 = 440 Hz is in the same key, and its tuning is told."""
    sound = cadence("Bb major")
    positions = np.arange(0, len(sound) - 1, 2.0 ** (cents / 1200.0))
    bent = np.interp(positions, np.arange(len(sound)), sound[:, 0]).astype(np.float32)[:, None]
    found = detected(bent)
    assert found.key == "Bb major"
    assert found.tuning_cents == pytest.approx(cents, abs=5)


@pytest.mark.parametrize("gain", [0.01, 0.1, 1.5])
def test_loudness_does_not_matter(gain: float) -> None:
    """Softer or louder, the key and how sure it is stay."""
    sound = cadence("E minor")
    one, other = detected(sound), detected(sound * np.float32(gain))
    assert one.key == other.key
    assert one.confidence == pytest.approx(other.confidence, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_key(seed: int) -> None:
    """Noise and clicks have no key and no confidence: nothing is made up."""
    assert detected(signals.noise(10, seed, 1, RATE_HZ)).key == ""
    assert detected(signals.pink_noise(10, seed, 1, RATE_HZ)).confidence == 0.0
    assert detected(signals.clicks(120, 10, seed, rate_hz=RATE_HZ)).candidates == ()


def test_what_is_not_music_has_no_key() -> None:
    """A sweep, a tone, a hum, DC and silence have none, however short."""
    tone = signals.sine(-12, 6, 1, 440, RATE_HZ)
    for sound in (
        tone,
        tone + 0.4 * signals.sine(-12, 6, 1, 880, RATE_HZ),
        signals.sweep(100, 1600, 10, rate_hz=RATE_HZ),
        np.full((5 * RATE_HZ, 1), 0.5, np.float32),
        signals.silence(5, 1, RATE_HZ),
        signals.silence(1, 1, RATE_HZ)[:1],
    ):
        assert detected(sound).key == ""


def test_candidates_are_likelihoods() -> None:
    """Other keys come likeliest first, sum to less than 1, with relative and parallel named."""
    found = detected(cadence("A minor"))
    chances = [candidate.probability for candidate in found.candidates]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) < 1.0
    by_relation = {c.relation: c.key for c in found.candidates}
    assert (by_relation["relative"], by_relation["parallel"]) == ("C major", "A major")


@pytest.mark.parametrize(
    ("of", "to", "expected"),
    [
        ("G major", "C major", "dominant"),
        ("F major", "C major", "subdominant"),
        ("A minor", "C major", "relative"),
        ("Eb major", "C minor", "relative"),
        ("C minor", "C major", "parallel"),
        ("F# major", "C major", ""),
        ("E minor", "C major", ""),
    ],
)
def test_relations(of: str, to: str, expected: str) -> None:
    """Keys stand to each other as theory names it."""
    assert relation(KEYS.index(of), KEYS.index(to)) == expected


def test_a_modulation_is_found() -> None:
    """From C major to F# minor: two regions, the change where it is, whole without gaps."""
    parts = [cadence("C major", 6), cadence("F# minor", 6)]
    found = detected(np.concatenate(parts), modulations=True, minimum_seconds=8.0)
    assert [region.key for region in found.regions] == ["C major", "F# minor"]
    change = len(parts[0]) / RATE_HZ
    assert found.regions[0].end_seconds == found.regions[1].start_seconds
    assert found.regions[0].end_seconds == pytest.approx(change, abs=2.0)
    assert found.regions[1].end_seconds == pytest.approx(2 * change, abs=0.1)


def test_what_does_not_modulate_has_one_region() -> None:
    """One key throughout, and stretches shorter than asked do not count."""
    steady = detected(cadence("G major", 8), modulations=True)
    assert [region.key for region in steady.regions] == ["G major"]
    away = np.concatenate([cadence("G major", 5), cadence("C# minor", 1), cadence("G major", 5)])
    found = detected(away, modulations=True, minimum_seconds=8.0)
    assert all(r.end_seconds - r.start_seconds >= 7.0 for r in found.regions)


def test_profiles_fit_themselves() -> None:
    """The triad of each tonic fits best the key it is the tonic of."""
    for tonic in range(12):
        major, minor = np.zeros(12), np.zeros(12)
        major[[tonic, (tonic + 4) % 12, (tonic + 7) % 12]] = 1.0
        minor[[tonic, (tonic + 3) % 12, (tonic + 7) % 12]] = 1.0
        fits = correlations(np.stack([major, minor]))
        assert fits.argmax(axis=1).tolist() == [tonic, tonic + 12]
        assert np.abs(fits).max() <= 1.0 + 1e-9
