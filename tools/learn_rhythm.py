"""Learns what `services/analysis/src/chorale_analysis/learned.json` holds, from rhythm_corpus's.

    python tools/learn_rhythm.py pulses FOLDER   # the network that reads pulses
    python tools/learn_rhythm.py choice FOLDER   # which beats and bars to choose, and how sure
    python tools/learn_rhythm.py opinion FOLDER  # the same for `auto`, which hears madmom's network

`choice` is held to the weights that `prior` of learned.json keeps of an earlier lesson. In this
order: the others learn of what the network reads, of pieces that it did not learn from.
What is heard of a piece is kept beside it as NAME.heard.npz, what madmom's network says of it as
NAME.opinion.npz. Prints how right it is on pieces that it did not learn from, in folds.
"""

import argparse
import json
import re
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import learn_pulses
import mir_eval  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from chorale_analysis import beats, choosing, heard_beats
from chorale_analysis.learned import ALONE, Taste
from chorale_analysis.onsets import HOPS_PER_SECOND, OnsetListener, Onsets
from chorale_analysis.opinions import Opinion
from chorale_analysis.pulse_network import PulseNetwork
from chorale_analysis.pulses import Barred
from chorale_analysis.rhythm import RhythmSettings

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PACKAGE = Path(__file__).parents[1] / "services/analysis/src/chorale_analysis"
LEARNED, NETWORK = PACKAGE / "learned.json", PACKAGE / "pulse_network.npz"
FOLDS, SHARPNESS = 5, 2.0
# How strongly weights are held: to those of an earlier lesson, or to none where meters count alike.
NEAR_BEFORE, NEAR_NONE = 0.5, 0.2
# Networks of taste: so many, of so many units; noise (in deviations) and decay keep them smooth.
NETWORKS, UNITS, LAPS, NOISE, PACE, DECAY = 5, 32, 300, 1.0, 0.01, 0.1
_KINDS = ("strength", "raw", "deep", "high", "classes")  # of what is heard
_DRAWN = frozenset({"song", "groove", "tune"})  # by us, who know where their beats are
_REWARDS = {"beats": 1.2, "downbeats": 1.0, "meter": 1.0, "Acc1": 0.9, "Acc2": 0.5}
# How music's tempi spread: pieces count the more, the fewer of such a tempo the folder has of it.
_USUAL_BPM, _SPREAD_OCTAVES, _LEAST_COUNT, _MOST_COUNT = 100.0, 0.5, 0.3, 3.0
_OCTAVES = np.array([1.0 / 3.0, 0.5, 1.0, 2.0, 3.0])


@dataclass(frozen=True)
class Piece:
    """What is heard of a piece, what a network may say of it, and what is true."""

    name: str
    truth: dict[str, Any]
    heard: Onsets
    tracks: list[Integers]
    opinion: Opinion | None = None
    more_tracks: tuple[Integers, ...] = ()  # heard with the help of the network

    @property
    def beats(self) -> Floats:
        """When its beats are."""
        return np.array([beat[0] for beat in self.truth["beats"]])

    @property
    def firsts(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which of them begin bars."""
        return np.array([beat[1] == 1 for beat in self.truth["beats"]])

    @property
    def length(self) -> int:
        """Of its bars, in beats."""
        return int(max(beat[1] for beat in self.truth["beats"]))


def pieces(folder: Path) -> list[Piece]:
    """Every piece of the folder, heard now or before."""
    found = []
    for path in sorted(folder.glob("*.json")):
        truth = json.loads(path.read_text())
        kept = path.with_suffix(".heard.npz")
        if not kept.exists():
            _hear(path.with_suffix(".flac"), kept)
        with np.load(kept) as arrays:
            kinds = {k: arrays[k] for k in _KINDS}
            tracks = [arrays[name] for name in sorted(arrays.files) if name.startswith("track")]
        last = len(kinds["strength"]) / HOPS_PER_SECOND - 0.2
        truth["beats"] = [beat for beat in truth["beats"] if beat[0] < last]
        piece = Piece(path.stem, truth, Onsets(**kinds), tracks)
        if truth["kind"] in _DRAWN or _is_in_time(piece):
            found.append(piece)
        else:
            print("left out: more begins beside its beats than on them:", piece.name)
    return found


def _is_in_time(piece: Piece) -> bool:
    """Whether onsets are where a score was read to have beats: some are read wrongly."""
    lengths = np.append(np.diff(piece.beats), np.median(np.diff(piece.beats)))
    halves = []
    for half in (np.s_[: len(lengths) // 2], np.s_[len(lengths) // 2 :]):
        on, *beside = (
            float(
                heard_beats.near(piece.heard.strength, (piece.beats + share * lengths)[half]).mean()
            )
            for share in (0.0, 0.15, 0.2, 0.35, 0.4, 0.6, 0.65, 0.8, 0.85)
        )
        halves.append(on > max(beside))
    return all(halves)


def _hear(sound: Path, kept: Path) -> None:
    samples, _ = soundfile.read(sound, dtype="float32")
    listener = OnsetListener()
    for start in range(0, len(samples), 1 << 16):
        listener.push(samples[start : start + (1 << 16)])
    heard = listener.finish()
    tracks = beats.tracks_of(beats.activation_of(heard.strength), heard, RhythmSettings())
    kinds = {k: np.asarray(getattr(heard, k)) for k in _KINDS}
    _keep(kept, kinds, tracks)


def _keep(kept: Path, kinds: dict[str, Any], tracks: list[Integers]) -> None:
    more: dict[str, Any] = {f"track{n}": track for n, track in enumerate(tracks)}
    np.savez_compressed(kept, **kinds, **more)


def with_opinion(piece: Piece, folder: Path) -> Piece:
    """A piece with what madmom's network says of it, and the beats that come of that."""
    kept = folder / f"{piece.name}.opinion.npz"
    if not kept.exists():
        from chorale_analysis import madmom_ears

        samples, rate_hz = soundfile.read(folder / f"{piece.name}.flac", dtype="float32")
        at = madmom_ears.MadmomEars.rate_hz
        said = madmom_ears.opinion_of(soxr.resample(samples, rate_hz, at, "HQ"))
        shared = said.shared(beats.activation_of(piece.heard.strength), beats.LATENCY_SECONDS)
        tracks = beats.tracks_of(shared, piece.heard, RhythmSettings())
        _keep(kept, {"chances": said.chances, "rate": said.frames_per_second}, tracks)
        print("heard", piece.name, flush=True)
    with np.load(kept) as arrays:
        said = Opinion(arrays["chances"], float(arrays["rate"]))
        tracks = [arrays[name] for name in sorted(arrays.files) if name.startswith("track")]
    return replace(piece, opinion=said, more_tracks=tuple(tracks))


def logistic(rows: Floats, right: Floats, weights: Floats, strength: float) -> Floats:
    """The weights of a logistic regression, its bias last, by Newton's method."""
    wide = np.hstack([rows, np.ones((len(rows), 1))])
    held = np.eye(wide.shape[1]) * strength
    held[-1, -1] = 1e-6
    found = np.zeros(wide.shape[1])
    for _ in range(60):
        chance = 1.0 / (1.0 + np.exp(-wide @ found))
        slope = wide.T @ (weights * (chance - right)) + held @ found
        bend = (wide * (weights * chance * (1.0 - chance))[:, None]).T @ wide + held
        step = np.linalg.solve(bend, slope)
        found -= step
        if np.abs(step).max() < 1e-6:
            break
    return found


def folds_of(of: list[Piece]) -> Integers:
    """In which part of the folder each piece is: what comes of one old score is in one."""
    told = [re.search(r"movement\d+|bwv[\d.]+|madrigal[\d.]+", one.name) for one in of]
    works = [found.group() if found else one.name for found, one in zip(told, of, strict=True)]
    return np.array([zlib.crc32(work.encode()) % FOLDS for work in works])


def lessons_of(piece: Piece) -> list[learn_pulses.Lesson]:
    """What the pulses that are heard in a piece teach."""
    raw = piece.heard.raw
    pulses = [beats.seconds_of(raw, hops) for hops in beats.unlike(piece.tracks) if len(hops) > 2]
    truth = learn_pulses.Truth(
        piece.beats, piece.firsts, piece.length, float(piece.truth["tempo_bpm"])
    )
    return learn_pulses.lessons(piece.heard, truth, pulses)


def learn_networks(of: list[Piece], folder: Path) -> None:
    """Teaches the network of pulses, and one for each fold that has heard nothing of it.

    What is learned of readings has to be learned of readings of pieces that the reader never saw.
    """
    counts = counts_of(of)
    told = [
        [replace(lesson, count=lesson.count * count) for lesson in lessons_of(one)]
        for one, count in zip(of, counts, strict=True)
    ]
    folds = folds_of(of)
    known = [
        [lesson for one, at in zip(told, folds, strict=True) if at != fold for lesson in one]
        for fold in (*range(FOLDS), None)
    ]
    seeds = [0] * FOLDS + list(range(learn_pulses.NETWORKS))
    with Pool() as pool:
        wanted = known[:FOLDS] + known[FOLDS:] * learn_pulses.NETWORKS
        taught = pool.starmap(learn_pulses.taught, zip(wanted, seeds, strict=True), chunksize=1)
    for fold in range(FOLDS):
        learn_pulses.keep([taught[fold]], folder / f"pulses.{fold}.npz")
    learn_pulses.keep(taught[FOLDS:], NETWORK)


def networks_in(folder: Path) -> list[PulseNetwork]:
    """The networks of the folds, as `learn_networks` kept them."""
    found = []
    for fold in range(FOLDS):
        with np.load(folder / f"pulses.{fold}.npz") as arrays:
            found.append(PulseNetwork.of(arrays))
    return found


@dataclass(frozen=True)
class Ways:
    """All ways to hear a piece: their features, how right each is, and more for calibration."""

    piece: Piece
    ways: list[Barred]
    features: Floats
    measures: list[dict[str, float]]
    odds: Floats  # how firmly the beats of each recur

    @property
    def rewards(self) -> Floats:
        """How good each is, at most 4."""
        every = sum(_REWARDS[name] for name in self.measures[0])
        total = [sum(_REWARDS[k] * value for k, value in one.items()) for one in self.measures]
        return 4.0 * np.array(total) / every


def ways_of(piece: Piece, names: list[str], network: PulseNetwork) -> Ways | None:
    """Every pulse with bars of every usual length; None where there is no pulse."""
    heard = piece.heard
    activation = beats.activation_of(heard.strength)
    pulses = beats.pulses_of(heard, activation, piece.tracks, network)
    ways = choosing.ways_over(heard, pulses)
    if not ways:
        return None
    if piece.opinion:
        chosen = ways[int(np.argmax(choosing.scores_of(ways)))]
        fresh = beats.fresh(list(piece.more_tracks), piece.tracks)
        others = [one for one in pulses if one is not chosen.pulse]
        others += beats.pulses_of(heard, activation, fresh, network)
        ways = choosing.opined(heard, others, chosen, RhythmSettings(), piece.opinion)
    names[:] = names or list(ways[0].features)
    alike = [way.pulse.features["al"] for way in ways]
    return Ways(
        piece,
        ways,
        np.array([[way.features[name] for name in names] for way in ways]),
        [measures(piece, way) for way in ways],
        np.array([beats.firmness(one) for one in alike]),
    )


def measures(piece: Piece, way: Barred) -> dict[str, float]:
    """How right one way to hear a piece is."""
    seconds, first = way.pulse.seconds, way.pulse.seconds[way.places == 0]
    found = {"beats": mir_eval.beat.f_measure(piece.beats, seconds)}
    if piece.length > 1:
        truth = piece.beats[piece.firsts]
        found["downbeats"] = mir_eval.beat.f_measure(truth, first) if len(first) else 0.0
        found["meter"] = float(way.length == piece.length)
    ratio = way.pulse.bpm / piece.truth["tempo_bpm"]
    found["Acc1"] = float(abs(ratio - 1.0) <= 0.04)
    found["Acc2"] = float((np.abs(ratio / _OCTAVES - 1.0) <= 0.04).any())
    return found


def counts_of(of: list[Piece]) -> Floats:
    """How much each piece counts: every kind alike, and tempi spread as those of music are."""
    kinds = [one.truth["kind"] for one in of]
    octaves = np.log2(np.array([one.truth["tempo_bpm"] for one in of]) / _USUAL_BPM)
    usual = np.exp(-0.5 * (octaves / _SPREAD_OCTAVES) ** 2)
    near = np.exp(-0.5 * ((octaves[:, None] - octaves) / 0.2) ** 2).mean(axis=1)
    ratio = usual / near
    ratio = np.clip(ratio / ratio.mean(), _LEAST_COUNT, _MOST_COUNT)
    share = np.array([kinds.count(kind) for kind in kinds]) / len(of)
    counts = ratio / np.maximum(share, 1.0 / 16.0)
    counts /= counts.mean()
    whole: Floats = counts
    return whole


def rarity_of(of: list[Piece]) -> Floats:
    """How much more pieces count whose bars are of a seldom length."""
    lengths = [one.length for one in of]
    share = np.array([lengths.count(length) for length in lengths]) / len(of)
    rare: Floats = 1.0 / np.sqrt(np.maximum(share, 1.0 / 16.0))
    return rare


def taught(
    of: list[Ways], names: list[str], spread: Floats, before: Floats
) -> tuple[Floats, Taste]:
    """What to think of ways to hear a piece: the mean of two lessons, which err differently.

    One is held to earlier weights; one to none, and pieces of rare meters count more in it.
    """
    pieces = [one.piece for one in of]
    counts = counts_of(pieces)
    usual, even = Lesson(of, counts), Lesson(of, counts * rarity_of(pieces))
    found = []
    for lesson, near, strength in (
        (usual, before, NEAR_BEFORE), (even, np.zeros(len(names)), NEAR_NONE),
    ):  # fmt: skip
        weights = softmax(of, lesson, spread, near, strength)
        found.append((weights, tasting(of, lesson, names, weights)))
    (one, taste), (other, another) = found
    hidden = np.concatenate([taste.hidden, another.hidden])
    both = replace(taste, hidden=hidden, out=np.concatenate([taste.out, another.out]))
    return 0.5 * (one + other), both


def softmax(
    of: list[Ways], lesson: "Lesson", spread: Floats, near: Floats, strength: float
) -> Floats:
    """Weights near these that give the best ways the greatest chance, by Adam's method."""
    rows = np.vstack([one.features for one in of]) / spread
    found = near * spread
    step = Adam(found, memory=0.99, pace=0.05)
    for _ in range(400):
        held = strength * (found - near * spread)
        found = step.taken(held + rows.T @ lesson.gap(rows @ found))
    return found / spread


def tasting(of: list[Ways], lesson: "Lesson", names: list[str], weights: Floats) -> Taste:
    """Networks that say of pulses what the weights of a softmax leave to be said, by Adam."""
    told = tuple(name for name in names if name in of[0].ways[0].pulse.features)
    places = [names.index(name) for name in told]
    rows = np.vstack([one.features for one in of])
    base, rows = rows @ weights, rows[:, places]
    found = Taste(
        told,
        rows.mean(axis=0),
        rows.std(axis=0) + 1e-9,
        np.zeros((NETWORKS, len(told) + 1, UNITS)),
        np.zeros((NETWORKS, UNITS)),
    )
    seen = found.seen(rows)
    for number in range(NETWORKS):
        chance = np.random.default_rng(number)
        reach = 1.0 / np.sqrt(len(told))
        hidden = chance.uniform(-reach, reach, (len(told) + 1, UNITS))
        out = chance.uniform(-0.1, 0.1, UNITS) / np.sqrt(UNITS)
        steps = [Adam(table, memory=0.999, pace=PACE, decay=DECAY) for table in (hidden, out)]
        for _ in range(LAPS):
            noisy = seen + NOISE * chance.standard_normal(seen.shape)
            noisy[:, -1] = 1.0
            units = np.tanh(noisy @ hidden)
            gap = lesson.gap(base + units @ out)
            back = (gap[:, None] * out) * (1.0 - units**2)
            slopes = noisy.T @ back, units.T @ gap
            hidden, out = (step.taken(slope) for step, slope in zip(steps, slopes, strict=True))
        found.hidden[number], found.out[number] = hidden, out
    return found


class Lesson:
    """What every way to hear every piece should have of the chances of its piece."""

    def __init__(self, of: list[Ways], worth: Floats) -> None:
        counts = [len(one.ways) for one in of]
        self._starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self._piece = np.repeat(np.arange(len(of)), counts)
        self._worth = (worth / worth.sum())[self._piece]
        self._wanted = np.concatenate([_chances(SHARPNESS * one.rewards) for one in of])

    def gap(self, scores: Floats) -> Floats:
        """How much too likely each is by these scores, by what its piece counts."""
        raised = np.exp(scores - np.maximum.reduceat(scores, self._starts)[self._piece])
        chance = raised / np.add.reduceat(raised, self._starts)[self._piece]
        gap: Floats = self._worth * (chance - self._wanted)
        return gap


class Adam:
    """Steps of one table of weights, which may decay beside."""

    def __init__(self, weights: Floats, memory: float, pace: float, decay: float = 0.0) -> None:
        self._weights, self._memory = weights, memory
        self._pace, self._kept = pace, 1.0 - pace * decay
        self._slow, self._fast, self._count = np.zeros_like(weights), np.zeros_like(weights), 0

    def taken(self, slope: Floats) -> Floats:
        """The weights after one more step."""
        self._count += 1
        self._slow = 0.9 * self._slow + 0.1 * slope
        self._fast = self._memory * self._fast + (1.0 - self._memory) * slope**2
        slow = self._slow / (1.0 - 0.9**self._count)
        fast = self._fast / (1.0 - self._memory**self._count)
        self._weights = self._kept * self._weights - self._pace * slow / (np.sqrt(fast) + 1e-8)
        return self._weights


def _chances(scores: Floats) -> Floats:
    raised = np.exp(scores - scores.max())
    chances: Floats = raised / raised.sum()
    return chances


def learn_opinion(of: list[Ways], names: list[str]) -> dict[str, Any]:
    """How much a network's opinion counts beside what was learned without: few weights more."""
    alone = np.array([ALONE.choice.get(name, 0.0) for name in names])
    tasted = [names.index(name) for name in ALONE.taste.names]
    said = [place for place, name in enumerate(names) if name not in ALONE.choice]
    few = [
        replace(
            one,
            features=np.column_stack(
                [
                    one.features @ alone + ALONE.taste.scores(one.features[:, tasted]),
                    one.features[:, said],
                ]
            ),
        )
        for one in of
    ]
    few_names = ["alone", *(names[place] for place in said)]
    spread = np.vstack([one.features for one in few]).std(axis=0) + 1e-9
    lesson = Lesson(few, counts_of([one.piece for one in few]))
    near = np.array([1.0, *(0.0 for _ in said)])
    weights = softmax(few, lesson, spread, near, NEAR_BEFORE)
    learned = dict(zip(few_names, _short(weights), strict=True))
    scale = learned.pop("alone")
    whole = {name: _short([scale * weight])[0] for name, weight in ALONE.choice.items()}
    # Pieces that `choice` was learned from say too much of how sure to be.
    return {"choice": whole | learned, "taste_weight": scale, "chances": ALONE.chances}


def learn_choice(of: list[Ways], names: list[str], prior: Mapping[str, float]) -> dict[str, Any]:
    """Which way to hear a piece, and how sure: `choice` and `chances` of learned.json."""
    spread = np.vstack([one.features for one in of]).std(axis=0) + 1e-9
    before = np.array([prior.get(name, 0.0) for name in names])
    print("of works held out, a fifth at a time: how sure to be is learned of these")
    unheard = _held_out(of, names, folds_of([one.piece for one in of]), spread, before)
    _report(unheard)
    found, taste = taught(of, names, spread, before)
    return {
        "choice": dict(zip(names, _short(found), strict=True)),
        "taste": {
            "names": taste.names,
            "mean": _short(taste.mean),
            "spread": _short(taste.spread),
            "hidden": [[_short(row) for row in table] for table in taste.hidden],
            "out": [_short(row) for row in taste.out],
        },
        "chances": _learn_chances(unheard),
    }


def _held_out(
    of: list[Ways], names: list[str], folds: Integers, spread: Floats, before: Floats
) -> list[tuple[Ways, Floats]]:
    """Every piece with the scores of its ways, by what is learned of the other folds."""
    found = []
    for fold in np.unique(folds):
        known = [one for one, at in zip(of, folds, strict=True) if at != fold]
        weights, taste = taught(known, names, spread, before)
        places = [names.index(name) for name in taste.names]
        found += [(one, one.features @ weights + taste.scores(one.features[:, places]))
                  for one, at in zip(of, folds, strict=True) if at == fold]  # fmt: skip
    return found


def _report(held_out: list[tuple[Ways, Floats]]) -> None:
    """Prints how right choices are, by kind and over all."""
    kinds = sorted({one.piece.truth["kind"] for one, _ in held_out})
    for kind in [*kinds, ""]:
        rows = [
            one.measures[int(np.argmax(scores))]
            for one, scores in held_out
            if kind in ("", one.piece.truth["kind"])
        ]
        means = {
            name: float(np.mean([row[name] for row in rows if name in row])) for name in _REWARDS
        }
        told = " ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        print(f"{kind or 'all':10}{len(rows):4}  {told}")


def _learn_chances(held_out: list[tuple[Ways, Floats]]) -> dict[str, list[float]]:
    """How often what was chosen is right, on pieces held out, by what is known of it then."""
    tempo, meters, singles = [], [], []
    counts = counts_of([one.piece for one, _ in held_out])
    for (one, scores), count in zip(held_out, counts, strict=True):
        chance = choosing.chances_of(one.ways, scores)
        best = int(np.argmax(scores))
        way, right = one.ways[best], one.measures[best]
        odds = float(one.odds[best])
        told = [choosing.odds_of(chance.tempo), odds]
        tempo.append((told, right["Acc1"], count))
        if "meter" in right:
            meters.append(([choosing.odds_of(chance.by_length[way.length])], right["meter"], count))
        sounding = beats.activation_of(one.piece.heard.strength)[way.pulse.hops]
        apart = np.abs(one.piece.beats[:, None] - way.pulse.seconds[None, :]).min(axis=0)
        for loud, seconds in zip(sounding, apart, strict=True):
            row = [told[0], choosing.share(odds), float(loud)]
            singles.append((row, float(seconds <= 0.07), count / len(apart)))
    fitted = {}
    for name, rows in (("tempo", tempo), ("meter", meters), ("beat", singles)):
        features, right_ones, weights = (np.array(part) for part in zip(*rows, strict=True))
        found = logistic(features, right_ones, weights, 0.5)
        wide = np.hstack([features, np.ones((len(features), 1))])
        error = calibration_error(1.0 / (1.0 + np.exp(-wide @ found)), right_ones, weights)
        print(f"{name} right {np.average(right_ones, weights=weights):.3f}, off by {error:.3f}")
        fitted[name] = _short(found)
    return fitted


def calibration_error(told: Floats, right: Floats, weights: Floats) -> float:
    """The mean gap between chances told and what came true, over ten bins."""
    bins = np.minimum((told * 10).astype(int), 9)
    gaps = [
        weights[bins == n].sum() * abs(np.average((told - right)[bins == n],
                                                  weights=weights[bins == n]))
        for n in range(10) if (bins == n).any()
    ]  # fmt: skip
    return float(sum(gaps) / weights.sum())


def _short(values: Any) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pulses", "choice", "opinion"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # mir_eval's, of ways with few beats
    heard = pieces(options.folder)
    learned = json.loads(LEARNED.read_text())
    if options.what == "pulses":
        learn_networks(heard, options.folder)
        return
    names: list[str] = []
    if options.what == "opinion":
        heard = [with_opinion(one, options.folder) for one in heard
                 if (options.folder / f"{one.name}.opinion.npz").exists()]  # fmt: skip
    networks = networks_in(options.folder)
    found = [
        ways_of(one, names, networks[fold])
        for one, fold in zip(heard, folds_of(heard), strict=True)
    ]
    known = [one for one in found if one is not None]
    if options.what == "choice":
        learned |= learn_choice(known, names, learned["prior"])
    else:
        learned["with_opinion"] = learn_opinion(known, names)
    LEARNED.write_text(json.dumps(learned, indent=1) + "\n")


if __name__ == "__main__":
    main()
