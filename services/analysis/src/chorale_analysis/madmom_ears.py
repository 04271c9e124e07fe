"""The engines called `madmom`: its published networks and decoders, on sound that is named.

Its weights may not be used commercially (CC BY-NC-SA 4.0).
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from chorale_analysis import harte
from chorale_analysis.beats import local_intervals
from chorale_analysis.harmony import Alternative, Chord, ChordSettings, Harmony
from chorale_analysis.key import unmoved
from chorale_analysis.madmom_shims import RATE_HZ, madmom, quiet
from chorale_analysis.opinions import Opinion
from chorale_analysis.rhythm import NO_RHYTHM, Beat, Meter, Rhythm, RhythmSettings, Tempo
from chorale_analysis.spectra import Array
from chorale_analysis.tonality import KEYS, KeySettings, Tonality
from chorale_analysis.wishes import Finding, Settings

Floats = npt.NDArray[np.float64]

_FRAMES_PER_SECOND = 100
_CHORD_FRAMES_PER_SECOND = 10
_BARS = (3, 4)  # as its own program
_ACTIVE = 0.05  # activations below say nothing
_TEMPO_RATIOS = (0.5, 2.0, 1.0 / 3.0, 3.0)


class MadmomEars:
    """Listens for all that is wished of madmom. Holds the whole sound: it takes no blocks."""

    rate_hz = RATE_HZ

    def __init__(self, wishes: Mapping[str, Settings]) -> None:
        self._wishes = wishes
        self._sound: list[Array] = []

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        self._sound.append(block)

    def opinion(self) -> Opinion:
        """What its network says of beats."""
        sound = np.concatenate(self._sound) if self._sound else np.zeros(0, np.float32)
        return opinion_of(sound)

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """All that was wished for, once the stream has ended."""
        if not self._wishes:
            return {}
        sound = np.concatenate(self._sound) if self._sound else np.zeros(0, np.float32)
        with quiet():
            signal = madmom("audio.signal").Signal(sound, sample_rate=RATE_HZ, num_channels=1)
            return {
                name: self._found(signal, settings, duration_seconds)
                for name, settings in self._wishes.items()
            }

    def _found(self, signal: Any, settings: Settings, duration_seconds: float) -> Finding:
        if isinstance(settings, RhythmSettings):
            return track(signal, duration_seconds, settings)
        if isinstance(settings, KeySettings):
            return key(signal, duration_seconds)
        assert isinstance(settings, ChordSettings), "madmom hears no sections"
        return chords(signal, duration_seconds, settings)


@lru_cache(1)
def _beat_network() -> Any:
    return madmom("features.downbeats").RNNDownBeatProcessor()


@lru_cache(1)
def _key_network() -> Any:
    return madmom("features.key").CNNKeyRecognitionProcessor()


@lru_cache(1)
def _chord_network() -> tuple[Any, Any]:
    field = madmom("ml.crf").ConditionalRandomField.load(madmom("models").CHORDS_CFCRF[0])
    return madmom("features.chords").CNNChordFeatureProcessor(), field


def opinion_of(sound: Array) -> Opinion:
    """What its network says of the beats of mono sound at `RATE_HZ`."""
    with quiet():
        signal = madmom("audio.signal").Signal(sound, sample_rate=RATE_HZ, num_channels=1)
        return Opinion(np.asarray(_beat_network()(signal), float), _FRAMES_PER_SECOND)


def track(signal: Any, duration_seconds: float, settings: RhythmSettings) -> Rhythm:
    """Beats, downbeats and meter: `DBNDownBeatTracker` with what is asked for."""
    return rhythm_of(_beat_network()(signal), duration_seconds, settings)


def rhythm_of(activations: Floats, duration_seconds: float, settings: RhythmSettings) -> Rhythm:
    """The rhythm by activations `(frames, 2)` of beats and of downbeats."""
    heard = np.flatnonzero((activations >= _ACTIVE).any(axis=1))
    if len(heard) < 2 or float(activations.max()) < settings.threshold:
        return NO_RHYTHM
    first, last = int(heard[0]), int(heard[-1]) + 1
    meters = settings.beats_per_bar or _BARS
    paths = [_bars(activations[first:last], meter, settings) for meter in meters]
    best = int(np.argmax([chance for _, _, chance in paths]))
    frames, positions, _ = paths[best]
    if len(frames) < 3:
        return NO_RHYTHM
    loud = activations.max(axis=1)
    at = np.minimum(frames + first, len(loud) - 1)
    seconds = np.minimum(at / _FRAMES_PER_SECOND, duration_seconds)
    intervals = np.diff(seconds)
    median = float(np.median(intervals))
    clear = float(np.mean(loud[at]))
    chances = _chances([chance / max(1, len(frames)) for _, _, chance in paths])
    return Rhythm(
        beats=tuple(
            Beat(float(time), float(loud[frame] / loud[at].max()), float(loud[frame]), int(place))
            for time, frame, place in zip(seconds, at, positions, strict=True)
        ),
        bpm=60.0 / median,
        bpm_confidence=clear,
        stability=float(np.clip(1.0 - intervals.std() / median, 0.0, 1.0)),
        candidates=tuple(_tempi(60.0 / median, clear)),
        curve_bpm=tuple((60.0 / local_intervals(intervals)).tolist()),
        meters=tuple(
            Meter(
                meters[place],
                float(chances[place]),
                tuple(((f[p == 1] + first) / _FRAMES_PER_SECOND).tolist()),
            )
            for place in sorted(range(len(paths)), key=lambda n: (n != best, -chances[n]))
            for f, p, _ in [paths[place]]
        ),
    )


def _bars(
    activations: Floats, beats_per_bar: int, settings: RhythmSettings
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]:
    """Frames and places of the likeliest beats in bars of this length, and how likely they are."""
    decoder = _decoder(
        beats_per_bar, settings.bpm_min, settings.bpm_max, settings.transition_lambda
    )
    path, chance = decoder.viterbi(activations)
    inside = decoder.observation_model.pointers[path] >= 1
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    frames = np.array(
        [left + int(activations[left:right].max(axis=1).argmax())
         for left, right in edges.reshape(-1, 2)],
        np.int64,
    )  # fmt: skip
    places = decoder.transition_model.state_space.state_positions[path].astype(int) + 1
    return frames, places[frames], float(chance)


@lru_cache(16)
def _decoder(beats_per_bar: int, bpm_min: float, bpm_max: float, transition_lambda: float) -> Any:
    """Its bar-pointer model; the rest of its settings are its program's own."""
    made = madmom("features.downbeats").DBNDownBeatTrackingProcessor(
        beats_per_bar=[beats_per_bar],
        min_bpm=bpm_min,
        max_bpm=bpm_max,
        transition_lambda=transition_lambda,
        fps=_FRAMES_PER_SECOND,
    )
    return made.hmms[0]


def _tempi(bpm: float, clear: float) -> list[Tempo]:
    """The tempo and its octaves; what it is not sure of is shared by the others."""
    others = [Tempo(bpm * ratio, (1.0 - clear) / 4.0) for ratio in _TEMPO_RATIOS]
    return sorted([Tempo(bpm, clear), *others], key=lambda tempo: -tempo.probability)


def _chances(scores: list[float]) -> Floats:
    weights = np.exp(np.array(scores) - max(scores))
    chances: Floats = weights / weights.sum()
    return chances


def key(signal: Any, duration_seconds: float) -> Tonality:
    """The key of the whole. Its network counts from A, major keys first."""
    chances = np.asarray(_key_network()(signal))[0].astype(float)
    places = [(pitch + 9) % 12 + 12 * mode for mode in (0, 1) for pitch in range(12)]
    by_key = np.zeros(24)
    by_key[places] = chances
    return unmoved(by_key, duration_seconds)


def chords(signal: Any, duration_seconds: float, settings: ChordSettings) -> Harmony:
    """Major and minor chords: `CNNChordRecognition`, with the chances that its field implies."""
    network, field = _chord_network()
    features = network(signal)
    states = np.asarray(field(features)).astype(int)
    chances = _marginals(np.asarray(features, float), field)
    edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), len(states)]
    found = []
    for first, last in pairwise(edges):
        likely = chances[first:last].mean(axis=0)
        chosen = int(states[first])
        here = _label(chosen)
        order = [int(n) for n in np.argsort(-likely) if n != chosen][: settings.alternative_count]
        found.append(
            Chord(
                min(first / _CHORD_FRAMES_PER_SECOND, duration_seconds),
                duration_seconds
                if last == len(states)
                else min(last / _CHORD_FRAMES_PER_SECOND, duration_seconds),
                str(here),
                float(likely[chosen]),
                tuple(
                    Alternative(str(o), float(likely[n]), harte.distance(o, here))
                    for n in order
                    for o in [_label(n)]
                ),
            )
        )
    return Harmony(tuple(found), "majmin")


def _label(state: int) -> harte.Label:
    """Its classes count from A: major, minor, none."""
    if state == len(KEYS):
        return harte.Label(-1, harte.NONE)
    return harte.named(state + 9, "maj" if state < len(KEYS) // 2 else "min")


def _marginals(features: Floats, field: Any) -> Floats:
    """The chance of every state at every frame under a linear-chain field."""
    seen = features @ field.W + field.c
    seen[0] += field.pi
    seen[-1] += field.tau
    step = np.exp(field.A - field.A.max())
    local = np.exp(seen - seen.max(axis=1, keepdims=True))
    ahead, behind = np.ones_like(local), np.ones_like(local)
    for frame in range(1, len(local)):
        ahead[frame] = (ahead[frame - 1] * local[frame - 1]) @ step
        ahead[frame] /= ahead[frame].sum()
    for frame in range(len(local) - 2, -1, -1):
        behind[frame] = step @ (behind[frame + 1] * local[frame + 1])
        behind[frame] /= behind[frame].sum()
    chances = ahead * local * behind
    marginals: Floats = chances / chances.sum(axis=1, keepdims=True)
    return marginals
