"""The engines with published weights that hear chords: `btc-sl`, `btc-pl`, `chord-cnn-lstm`."""

from collections.abc import Mapping

import numpy as np

from chorale_analysis import chord_heads, harte, hybrid_q, published_networks
from chorale_analysis.chord_stretches import edges, harmony
from chorale_analysis.constant_q import Pitches, magnitudes
from chorale_analysis.harmony import ChordSettings
from chorale_analysis.spectra import RATE_HZ, Array
from chorale_analysis.wishes import Finding, Settings

_BTC_HOP = 2048
_BTC_PITCHES = Pitches(RATE_HZ, 32.70319566257483, 144, 24)  # from C1
_BTC_SECONDS, _BTC_FRAMES = 10, 108  # of one window: each is heard apart, as in training
_QUIETEST = 1e-6
_QUALITIES = (
    *("min", "maj", "dim", "aug", "min6", "maj6", "min7"),
    *("minmaj7", "maj7", "7", "dim7", "hdim7", "sus2", "sus4"),
)
BTC_LABELS = {
    "large_voca": (
        *(harte.named(root, quality) for root in range(12) for quality in _QUALITIES),
        *(harte.Label(-1, harte.UNNAMED), harte.Label(-1, harte.NONE)),
    ),
    "majmin": (
        *(harte.named(root, quality) for root in range(12) for quality in ("maj", "min")),
        harte.Label(-1, harte.NONE),
    ),
}
"""What each output of BTC means, by vocabulary."""

_HOP = 512
_PITCHES = Pitches(RATE_HZ, 23.12465141947715, 288, 36)  # from F#0


class BtcEar:
    """Chords, ten seconds at a time. Keeps the chances of chords alone."""

    rate_hz = RATE_HZ

    def __init__(self, maker: str, wishes: Mapping[str, Settings], path: str) -> None:
        ((self._name, settings),) = wishes.items()
        assert isinstance(settings, ChordSettings), "it hears chords alone"
        self._settings, self._labels = settings, BTC_LABELS[settings.vocabulary]
        self._btc = published_networks.btc(path, maker, len(self._labels))
        self._pending = np.zeros(0, np.float32)
        self._chances: list[Array] = []

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self._pending = np.concatenate([self._pending, block])
        length = _BTC_SECONDS * RATE_HZ
        while len(self._pending) > length:
            self._hear(self._pending[:length])
            self._pending = self._pending[length:].copy()

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """The likeliest chord of every frame, those that are alike as one."""
        if len(self._pending) or not self._chances:
            self._hear(self._pending)
            self._pending = self._pending[:0]
        chances = np.concatenate(self._chances)
        states = chances.argmax(axis=1)
        begins = edges(states)
        return {
            self._name: harmony(
                self._labels,
                begins,
                states[begins[:-1]].tolist(),
                np.add.reduceat(chances, begins[:-1]) / np.diff(begins)[:, None],
                _BTC_SECONDS / _BTC_FRAMES,
                duration_seconds,
                self._settings,
            )
        }

    def _hear(self, window: Array) -> None:
        from chorale_analysis.networks.btc import chances

        heard = np.log(magnitudes(window, _BTC_PITCHES, _BTC_HOP) + _QUIETEST)
        level = (heard - self._btc.mean) / self._btc.deviation
        self._chances.append(chances(self._btc.network, level.astype(np.float32)))


class ChordCnnLstmEar:
    """Chords of six answers, of five networks together. Keeps the whole sound: it is tuned to."""

    rate_hz = RATE_HZ

    def __init__(self, wishes: Mapping[str, Settings], path: str) -> None:
        ((self._name, settings),) = wishes.items()
        assert isinstance(settings, ChordSettings), "it hears chords alone"
        self._settings = settings
        self._dictionary = chord_heads.dictionary(settings.vocabulary)
        self._networks = published_networks.chord_cnn_lstm(path)
        self._blocks: list[Array] = []

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self._blocks.append(block)

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """The likeliest sequence of chords of the dictionary."""
        from chorale_analysis.networks.chord_cnn_lstm import BINS, SKIPPED_BINS, answers

        sound = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)
        heard = hybrid_q.hybrid(sound, _PITCHES, _HOP)[:, SKIPPED_BINS : SKIPPED_BINS + BINS]
        heads = answers(self._networks, np.ascontiguousarray(heard))
        states = chord_heads.decode(heads, self._dictionary)
        begins = edges(states)
        return {
            self._name: harmony(
                self._dictionary.labels,
                begins,
                states[begins[:-1]].tolist(),
                chord_heads.chances(heads, self._dictionary, begins),
                _HOP / RATE_HZ,
                duration_seconds,
                self._settings,
            )
        }
