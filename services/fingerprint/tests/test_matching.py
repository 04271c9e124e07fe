"""Matching: copies are found where they are, other music is not found at all."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from chorale_fingerprint import matching
from chorale_fingerprint.codes import CODE_RATE_HZ, FRAMES_PER_CODE
from chorale_fingerprint.matching import MINIMUM_CODES, NotDistinctive, TooShort

RATE_HZ = 22050
MakeSong = Callable[..., np.ndarray]
CodesOf = Callable[[np.ndarray], np.ndarray]


def _voted_shift(query: np.ndarray, reference: np.ndarray) -> int:
    """The shift most looked-up codes agree on, as the index counts them."""
    looked_up = matching.with_single_errors(matching.probes(query, 500))
    kept = matching.postings(reference)
    shifts = [
        int(position - looked_up.positions[hit])
        for code, position in zip(kept.codes, kept.positions, strict=True)
        for hit in np.flatnonzero(looked_up.codes == code)
    ]
    return max(set(shifts), key=shifts.count) if shifts else 0


def test_an_excerpt_is_found_where_it_was_cut(make_song: MakeSong, codes_of: CodesOf) -> None:
    """Ten seconds from the middle align within one code of where they came from."""
    song = make_song(1, 30.0)
    start = 9 * RATE_HZ
    query, reference = codes_of(song[start : start + 10 * RATE_HZ]), codes_of(song)
    found = matching.best_alignment(query, reference, {_voted_shift(query, reference)})
    assert found is not None
    placed = (found.reference_start_code - found.query_start_code) * FRAMES_PER_CODE / CODE_RATE_HZ
    assert placed == pytest.approx(9.0, abs=FRAMES_PER_CODE / CODE_RATE_HZ)
    assert found.score > 0.7
    assert matching.false_positive_rate(found, len(query), len(reference)) < 1e-4


@pytest.mark.parametrize(("snr_db", "least_score"), [(20.0, 0.8), (10.0, 0.6)])
def test_noise_lowers_the_score_and_keeps_the_match(
    make_song: MakeSong, codes_of: CodesOf, snr_db: float, least_score: float
) -> None:
    """White noise over a song leaves it known."""
    song = make_song(2, 20.0)
    noise = np.random.default_rng(5).standard_normal(len(song))
    noise *= np.sqrt((song**2).mean() / (noise**2).mean()) * 10 ** (-snr_db / 20)
    query, reference = codes_of((song + noise).astype(np.float32)), codes_of(song)
    found = matching.best_alignment(query, reference, {0})
    assert found is not None
    assert found.score > least_score
    assert abs(found.reference_start_code - found.query_start_code) <= 1


def test_a_copy_scores_one(make_song: MakeSong, codes_of: CodesOf) -> None:
    """The same codes agree from end to end without an error."""
    codes = codes_of(make_song(3))
    found = matching.align(codes, codes, 0)
    assert found is not None
    assert (found.query_start_code, found.code_count) == (0, len(codes))
    assert (found.bit_error_rate, found.score) == (0.0, 1.0)


def test_unknown_music_matches_no_more_often_than_stated(
    make_song: MakeSong, codes_of: CodesOf
) -> None:
    """Of 30 pairs of different songs, compared at every shift, none looks like a match."""
    songs = [codes_of(make_song(seed, 20.0)) for seed in range(10, 16)]
    rates = []
    for query in songs:
        for reference in songs:
            if query is reference:
                continue
            shifts = set(range(-len(query) + MINIMUM_CODES, len(reference) - MINIMUM_CODES, 3))
            found = matching.best_alignment(query, reference, shifts)
            rates.append(
                matching.false_positive_rate(found, len(query), len(reference)) if found else 1.0
            )
    assert min(rates) > 0.005 / 10  # the default threshold, with ten times the comparisons
    assert sum(rate < 0.05 for rate in rates) <= 0.1 * len(rates)


@pytest.mark.parametrize("name", ["silence", "white noise", "drone", "clicks"])
def test_what_all_sounds_share_is_refused(codes_of: CodesOf, name: str) -> None:
    """Silence, noise, a drone and a click track are not distinctive."""
    time = np.arange(20 * RATE_HZ) / RATE_HZ
    signals = {
        "silence": np.zeros_like(time),
        "white noise": np.random.default_rng(6).standard_normal(len(time)) * 0.1,
        "drone": 0.3 * np.sin(2 * np.pi * 220 * time) + 0.1 * np.sin(2 * np.pi * 330 * time),
        "clicks": (np.arange(len(time)) % (RATE_HZ // 2) < 50) * 0.8,
    }
    codes = codes_of(signals[name].astype(np.float32))
    with pytest.raises(NotDistinctive):
        matching.require_distinctive(codes)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 192000])
def test_the_least_length_is_exact(codes_of: CodesOf, make_song: MakeSong, rate_hz: int) -> None:
    """The frames an error asks for give the codes that are needed, and one frame less does not."""
    with pytest.raises(TooShort) as caught:
        matching.require_length(2 * rate_hz, rate_hz, MINIMUM_CODES)
    assert caught.value.frame_count == 2 * rate_hz
    needed = caught.value.minimum_frame_count
    matching.require_length(needed, rate_hz, MINIMUM_CODES)
    with pytest.raises(TooShort):
        matching.require_length(needed - 1, rate_hz, MINIMUM_CODES)
    if rate_hz == RATE_HZ:
        assert len(codes_of(make_song(7)[:needed])) == MINIMUM_CODES


@pytest.mark.parametrize("length", [0, 1, MINIMUM_CODES - 1, MINIMUM_CODES])
def test_short_overlaps_align_nowhere_or_rightly(length: int) -> None:
    """Fewer codes than the minimum never match, however equal they are."""
    codes = np.random.default_rng(8).integers(0, 2**32, length, dtype=np.uint32)
    found = matching.align(codes, codes, 0)
    assert (found is not None) == (length >= MINIMUM_CODES)


def test_runs_of_one_code_are_kept_once() -> None:
    """The index keeps the first of a run of equal codes: a long note is one posting."""
    kept = matching.postings(np.array([7, 7, 7, 9, 9, 7], np.uint32))
    assert kept.codes.tolist() == [7, 9, 7]
    assert kept.positions.tolist() == [0, 3, 5]


def test_probes_are_bounded_and_spread(codes_of: CodesOf, make_song: MakeSong) -> None:
    """A long query looks up no more than it may, from its beginning to its end."""
    codes = codes_of(make_song(9, 40.0))
    few = matching.probes(codes, 50)
    assert len(few.codes) == 50
    assert few.positions[0] == 0
    assert few.positions[-1] >= len(codes) - 10
    with_errors = matching.with_single_errors(few)
    assert len(with_errors.codes) == 50 * 33
    assert set(np.bitwise_count(with_errors.codes[:33] ^ few.codes[0]).tolist()) == {0, 1}


@pytest.mark.parametrize("error", [TooShort(1, 2), NotDistinctive(0.1, 0.25)])
def test_errors_cross_processes(error: Exception) -> None:
    """An error raised in a worker process arrives whole."""
    copy = pickle.loads(pickle.dumps(error))
    assert (vars(copy), str(copy)) == (vars(error), str(error))
