"""Real recordings: copies and excerpts are known, and unknown music is not."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chorale_fingerprint import matching
from chorale_fingerprint.codes import Codes, CodeWriter
from chorale_fingerprint.matching import Found, Reference

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fingerprint-real-music")]

EXCERPT_SECONDS = 10
FALSE_POSITIVES_MAX = 1 / 200


class Index:
    """Postings in memory: the same votes as the database counts."""

    def __init__(self, recordings: dict[int, Codes]) -> None:
        self.recordings = recordings
        self.postings: dict[int, list[tuple[int, int]]] = {}
        for recording, codes in recordings.items():
            kept = matching.postings(codes)
            for code, position in zip(kept.codes.tolist(), kept.positions.tolist(), strict=True):
                self.postings.setdefault(code, []).append((recording, position))

    def search(self, query: Codes) -> list[Found]:
        """What is known of a query, at the default threshold."""
        looked_up = matching.with_single_errors(matching.probes(query, 600))
        votes: Counter[tuple[int, int]] = Counter()
        pairs = zip(looked_up.codes.tolist(), looked_up.positions.tolist(), strict=True)
        for code, position in pairs:
            votes.update((r, at - position) for r, at in self.postings.get(code, ()))
        shifts: dict[int, set[int]] = {}
        for (recording, shift), _ in votes.most_common(200):
            shifts.setdefault(recording, set()).add(shift)
        references = [
            Reference(recording, self.recordings[recording], frozenset(found))
            for recording, found in shifts.items()
        ]
        total = sum(len(codes) for codes in self.recordings.values())
        ranked = matching.rank(query, references, total)
        return [found for found in ranked if found.false_positive_rate <= FALSE_POSITIVES_MAX]


@pytest.fixture(scope="module")
def tracks(testdata: Path) -> list[tuple[np.ndarray, int]]:
    """The enrolled music: mono, with its rate. All of it is in bench/fingerprint_accuracy.py."""
    return [_read(path) for path in sorted((testdata / "fp").glob("*.ogg"))[::2]]


@pytest.fixture(scope="module")
def index(tracks: list[tuple[np.ndarray, int]]) -> Index:
    """An index of it."""
    return Index({number: _codes(*track) for number, track in enumerate(tracks)})


@pytest.mark.parametrize("snr_db", [None, 10.0])
def test_excerpts_are_known(
    tracks: list[tuple[np.ndarray, int]], index: Index, snr_db: float | None
) -> None:
    """Of 10 s excerpts, clean or under white noise at 10 dB, every one is known and placed."""
    wrong = []
    for number, (signal, rate_hz) in enumerate(tracks):
        start = len(signal) // 2 - 2 * rate_hz
        clip = signal[start : start + EXCERPT_SECONDS * rate_hz]
        if snr_db is not None:
            noise = np.random.default_rng(number).standard_normal(len(clip)).astype(np.float32)
            clip = clip + noise * clip.std() / noise.std() * np.float32(10 ** (-snr_db / 20))
        found = index.search(_codes(clip, rate_hz))
        # Two of the tracks are one recording, mastered twice: either will do, if nothing else.
        named = [each.recording for each in found if each.alignment.score > 0.5]
        placed = [
            each.alignment.reference_start_code - each.alignment.query_start_code
            for each in found
            if each.recording == number
        ]
        expected = start / rate_hz / (1365 / 11025)
        if number not in named or not placed or abs(placed[0] - expected) > 1.5:
            wrong.append((number, named, placed, expected))
    assert wrong == []


def test_unknown_music_is_not_known(testdata: Path, index: Index) -> None:
    """Excerpts of other music match nothing, or are refused as too plain."""
    false, asked = [], 0
    for path in sorted((testdata / "real").glob("*.ogg")):
        signal, rate_hz = _read(path)
        middle = len(signal) // 2
        codes = _codes(signal[middle : middle + EXCERPT_SECONDS * rate_hz], rate_hz)
        if len(codes) < matching.MINIMUM_CODES:
            continue
        if matching.variety(codes) < matching.MINIMUM_VARIETY:
            continue
        asked += 1
        if index.search(codes):
            false.append(path.name)
    assert asked >= 10
    assert false == []


def test_two_performances_of_one_piece_are_two(testdata: Path) -> None:
    """The same bars by two pianists are not duplicates."""
    igoshina, varsi = (
        _codes(*_read(testdata / "real" / f"real_chopin_op10_3_{name}.ogg"))
        for name in ("igoshina", "varsi")
    )
    assert Index({0: varsi}).search(igoshina) == []


def _read(path: Path) -> tuple[np.ndarray, int]:
    signal, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return signal @ np.full(signal.shape[1], 1 / signal.shape[1], np.float32), rate_hz


def _codes(signal: np.ndarray, rate_hz: int) -> Codes:
    writer = CodeWriter(rate_hz)
    writer.push(signal.astype(np.float32))
    return writer.finish()
