"""What engines hear in pieces with annotations, and how right it is: mir_eval's measures."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import mir_eval  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import soxr
from chorale_analysis import engines
from chorale_analysis.harmony import ChordSettings, Harmony
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.structure import Form, StructureSettings
from chorale_analysis.together import Company
from chorale_analysis.tonality import KeySettings, Tonality
from chorale_analysis.wishes import Finding, Settings
from material import Piece

Floats = npt.NDArray[np.float64]
WISHES: Mapping[str, Settings] = {
    "beats": RhythmSettings(),
    "key": KeySettings(),
    "chords": ChordSettings(),
    "structure": StructureSettings(),
}
_OCTAVES = np.array([1.0 / 3.0, 0.5, 1.0, 2.0, 3.0])
_RIGHT_TEMPO = 0.04


@dataclass
class Scores:
    """Measures by name, one number for each piece; and confidences with what came true."""

    measures: dict[str, list[float]] = field(default_factory=dict)
    claims: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One piece's measure."""
        self.measures.setdefault(name, []).append(float(value))

    def claim(self, name: str, confidence: float, came_true: float, weight: float = 1.0) -> None:
        """One confidence, and how true it was, in [0, 1]."""
        self.claims.setdefault(name, []).append((confidence, float(came_true), weight))

    @property
    def means(self) -> dict[str, float]:
        """The mean of each measure over all pieces that it applies to."""
        return {name: float(np.mean(values)) for name, values in self.measures.items()}

    @property
    def calibration(self) -> dict[str, float]:
        """Expected calibration error of each kind of confidence, over ten equal bins."""
        return {name: calibration_error(claims) for name, claims in self.claims.items()}


def calibration_error(claims: list[tuple[float, float, float]]) -> float:
    """The mean gap between confidence and truth over bins of equal width, by weight."""
    table = np.array(claims)
    bins = np.minimum((table[:, 0] * 10).astype(int), 9)
    gap = 0.0
    for number in range(10):
        part = table[bins == number]
        if len(part):
            means = np.average(part[:, :2], axis=0, weights=part[:, 2])
            gap += part[:, 2].sum() * abs(float(means[0] - means[1]))
    return float(gap / table[:, 2].sum())


def chance_error(claims: list[tuple[float, float, float]]) -> float:
    """The calibration error that chances just as told would show on so few claims, on average."""
    chance = np.random.default_rng(0)
    errors = [
        calibration_error([(told, float(chance.random() < told), w) for told, _, w in claims])
        for _ in range(50)
    ]
    return float(np.mean(errors))


def heard(piece: Piece, engine: str, wishes: Mapping[str, Settings]) -> dict[str, Finding]:
    """What an engine hears in a piece."""
    samples, rate_hz = piece.sound()
    mono = samples @ np.full(samples.shape[1], 1.0 / samples.shape[1], np.float32)
    weights = {
        one.name: one.path
        for one in engines.known(str(piece.path.parents[1] / "checkpoints"))
        if one.path
    }
    makers = dict.fromkeys(wishes, engine)
    if engine == engines.AUTO:
        makers = {name: engines.choose(name, engine).name for name in wishes}
    company = Company(wishes, makers, weights)
    for listener in company.listeners:
        sound = soxr.resample(mono, rate_hz, listener.rate_hz, "HQ")
        for start in range(0, len(sound), 1 << 16):
            listener.push(sound[start : start + (1 << 16)])
    return company.find(len(mono) / rate_hz)


def wished(piece: Piece, names: Mapping[str, Settings] = WISHES) -> dict[str, Settings]:
    """Those of these wishes to which the piece has annotations."""
    truth = piece.truth
    known = {
        "beats": len(truth.get("beats", [])) > 3 or "tempo" in (truth.get("tasks") or []),
        "key": bool(truth.get("keys")),
        "chords": bool(truth.get("chords")),
        "structure": len(truth.get("sections", [])) > 2,
    }
    return {name: wish for name, wish in names.items() if known[name]}


def score(piece: Piece, found: Mapping[str, Finding], scores: Scores) -> None:
    """Adds the measures of everything found in a piece."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval's, of pieces in which nothing was found
        for finding in found.values():
            if isinstance(finding, Rhythm):
                _score_rhythm(piece, finding, scores)
            elif isinstance(finding, Tonality):
                _score_key(piece, finding, scores)
            elif isinstance(finding, Harmony):
                _score_chords(piece, finding, scores)
            elif isinstance(finding, Form):
                _score_form(piece, finding, scores)


def _score_rhythm(piece: Piece, found: Rhythm, scores: Scores) -> None:
    beats = piece.truth.get("beats", [])
    reference = np.array([beat[0] for beat in beats])
    estimated = np.array([beat.seconds for beat in found.beats])
    if len(reference) > 3:
        scores.add(
            "beats F", mir_eval.beat.f_measure(reference, estimated) if len(estimated) else 0
        )
        for beat in found.beats:
            right = np.abs(reference - beat.seconds).min() <= 0.07
            scores.claim("beat", beat.confidence, right, 1.0 / len(found.beats))
    downbeats = np.array([beat[0] for beat in beats if beat[1] == 1])
    if len(downbeats) > 2:
        first = np.array([beat.seconds for beat in found.beats if beat.position == 1])
        scores.add("downbeats F", mir_eval.beat.f_measure(downbeats, first) if len(first) else 0)
        length = max(beat[1] for beat in beats if beat[1])
        chosen = found.meters[0] if found.meters else None
        scores.add("meter", chosen is not None and chosen.beats_per_bar == length)
        if chosen is not None:
            scores.claim("meter", chosen.probability, chosen.beats_per_bar == length)
    if piece.truth.get("tempo_bpm"):
        right_bpm = piece.truth.get("tempo_values") or [piece.truth["tempo_bpm"]]
        ratios = np.array([found.bpm / bpm for bpm in right_bpm])
        is_right = bool((np.abs(ratios - 1.0) <= _RIGHT_TEMPO).any())
        scores.add("tempo Acc1", is_right)
        near = np.abs(ratios[:, None] / _OCTAVES - 1.0) <= _RIGHT_TEMPO
        scores.add("tempo Acc2", bool(near.any()))
        scores.claim("tempo", found.bpm_confidence, is_right)


def _score_key(piece: Piece, found: Tonality, scores: Scores) -> None:
    seconds: dict[str, float] = {}
    for start, end, key in piece.truth["keys"]:
        seconds[key] = seconds.get(key, 0.0) + end - start
    longest = max(seconds, key=lambda key: seconds[key])
    reference = longest.replace(":maj", " major").replace(":min", " minor")
    value = mir_eval.key.weighted_score(reference, found.key) if found.key else 0.0
    scores.add("key MIREX", value)
    scores.claim("key", found.confidence, value == 1.0)


def _score_chords(piece: Piece, found: Harmony, scores: Scores) -> None:
    truth = piece.truth["chords"]
    intervals, labels = np.array([c[:2] for c in truth], float), [c[2] for c in truth]
    ours = np.array([(c.start_seconds, c.end_seconds) for c in found.chords])
    names = [c.label for c in found.chords]
    ours, names = mir_eval.util.adjust_intervals(
        ours, names, intervals.min(), intervals.max(), "N", "N"
    )
    both, reference, estimated = mir_eval.util.merge_labeled_intervals(
        intervals, labels, ours, names
    )
    weights = mir_eval.util.intervals_to_durations(both)
    for measure in ("majmin", "sevenths"):
        compared = getattr(mir_eval.chord, measure)(reference, estimated)
        scores.add(f"chords {measure}", mir_eval.chord.weighted_accuracy(compared, weights))
    right = mir_eval.chord.majmin(reference, estimated)
    starts = np.array([c.start_seconds for c in found.chords])
    for (start, end), value, weight in zip(both, right, weights, strict=True):
        if value >= 0.0:
            place = int(np.searchsorted(starts, 0.5 * (start + end), side="right")) - 1
            sure = found.chords[max(place, 0)].confidence
            scores.claim("chord", sure, value, weight / weights.sum())


def _score_form(piece: Piece, found: Form, scores: Scores) -> None:
    reference = np.array([section[:2] for section in piece.truth["sections"]], float)
    ours = np.array([(s.start_seconds, s.end_seconds) for s in found.sections])
    ours[-1, 1] = max(ours[-1, 1], reference.max())
    for window in (0.5, 3.0):
        value = mir_eval.segment.detection(reference, ours, window=window, trim=True)[2]
        scores.add(f"sections F at {window:g} s", value)
    for section in found.sections[1:]:
        near = np.abs(reference[:, 0] - section.start_seconds).min() <= 3.0
        scores.claim("boundary", section.boundary_confidence, near, 1.0 / len(found.sections))
