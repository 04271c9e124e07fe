"""How alike two recordings are, where, and how likely that is by chance.

Codes of one recording agree bit by bit with codes of its copies, shifted. Two steps find it:
`probes` names the codes to look up in an index (a hit votes for a shift), and `align` compares
every bit at that shift. J. Haitsma, T. Kalker, "A Highly Robust Audio Fingerprinting System"
(ISMIR 2002), for the bit error rate and for looking up codes with single bits turned.

Conventions: codes are uint32, one every `codes.SECONDS_PER_CODE`; a shift is the position in
the reference less the position in the query.

The score is `1 - errors / expected`: `errors` is the share of bits that differ, `expected` the
share that would differ between these two recordings if they had nothing to do with each other,
from how often each bit is set in each. It is 1 for a copy and about 0 for other music. Dividing
by `expected` matters for sound of little variety: two drum loops agree in 80 % of their bits
wherever one lays them, and that says nothing.
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale_fingerprint.codes import CODE_RATE_HZ, FRAMES_IN_CODE, FRAMES_PER_CODE, Codes

BITS = 32
# Below 3 s of codes any two pieces of music agree somewhere.
MINIMUM_CODES = 24
# Expected errors between two random codes of one recording. Music has 0.29 to 0.50; white noise
# 0.17, pink noise 0.23, a drone, a click track and silence 0.
MINIMUM_VARIETY = 0.25
# Which share of the expected errors still counts as agreement when a match is delimited: above
# what a telephone does to a copy (0.7), below what chance does in 3 s (0.75 of it, at best).
AGREEMENT = 0.75
# From where on two recordings are one: alike in this score over this share of the longer.
COPY_SCORE, COPY_SHARE = 0.85, 0.9
# How the best match with unknown music falls off. Its evidence, score * sqrt(n) on n codes, is
# 1.66 or more in one pair of recordings in ten, and every further 0.29 is e times as rare. Fitted
# by eye to 2610 pairs of 65 unrelated recordings, queries of 40 to 269 codes; see README.
CHANCE_AT_ONSET = 0.1
CHANCE_ONSET = 1.66
CHANCE_SCALE = 0.29
# The lengths for which that holds: between longer ones there are more places to agree.
CHANCE_CODES = 300


class TooShort(Exception):
    """The sound has fewer frames than a match can be told from chance by."""

    def __init__(self, frame_count: int, minimum_frame_count: int) -> None:
        super().__init__(frame_count, minimum_frame_count)  # args rebuild it across processes
        self.frame_count, self.minimum_frame_count = frame_count, minimum_frame_count

    def __str__(self) -> str:
        return (
            f"The audio has {self.frame_count} frames;"
            f" at least {self.minimum_frame_count} are needed to know it by."
        )


class NotDistinctive(Exception):
    """The sound varies so little that other sound has the same codes."""

    def __init__(self, variety: float, minimum_variety: float) -> None:
        super().__init__(variety, minimum_variety)
        self.variety, self.minimum_variety = variety, minimum_variety

    def __str__(self) -> str:
        return (
            f"Only {self.variety:.2f} of the bits of its codes differ from moment to moment;"
            f" {self.minimum_variety:.2f} are needed. Silence, noise, drones and clicks look so."
        )


@dataclass(frozen=True)
class Probes:
    """Codes to look up, and where in the query each stands."""

    codes: Codes
    positions: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Alignment:
    """Where two recordings agree, and how well."""

    query_start_code: int
    reference_start_code: int
    code_count: int
    bit_error_rate: float
    score: float


@dataclass(frozen=True)
class Reference:
    """A recording to compare with, at the shifts that an index suggests."""

    recording: int
    codes: Codes
    shifts: frozenset[int]


@dataclass(frozen=True)
class Found:
    """A recording that agrees somewhere, and how often unknown music would as well."""

    recording: int
    alignment: Alignment
    false_positive_rate: float


def variety(codes: Codes) -> float:
    """Measures which share of bits differs between two random codes, in [0, 0.5]."""
    share = _bit_shares(codes)
    return float(np.mean(2.0 * share * (1.0 - share)))


def require_length(frame_count: int, sample_rate_hz: int, code_count: int) -> None:
    """Refuses sound that is too short for so many codes."""
    frames = FRAMES_IN_CODE + (code_count - 1) * FRAMES_PER_CODE
    minimum = math.ceil(frames * sample_rate_hz / CODE_RATE_HZ)
    if frame_count < minimum:
        raise TooShort(frame_count, minimum)


def require_distinctive(codes: Codes) -> None:
    """Refuses sound so uniform that other sound has the same codes."""
    if (found := variety(codes)) < MINIMUM_VARIETY:
        raise NotDistinctive(round(found, 4), MINIMUM_VARIETY)


def postings(codes: Codes) -> Probes:
    """Lists what an index keeps: the first code of every run of equal ones."""
    first = np.flatnonzero(np.diff(codes, prepend=~codes[:1]))
    return Probes(codes[first], first.astype(np.int32))


def probes(codes: Codes, limit: int) -> Probes:
    """Lists at most `limit` codes to look up, spread evenly over the query."""
    all_of_them = postings(codes)
    count = len(all_of_them.codes)
    if count <= limit:
        return all_of_them
    chosen = np.linspace(0, count - 1, limit).astype(np.intp)
    return Probes(all_of_them.codes[chosen], all_of_them.positions[chosen])


def with_single_errors(exact: Probes) -> Probes:
    """Adds every code that differs in one bit: what noise most often makes of a code."""
    masks = np.concatenate([np.zeros(1, np.uint32), 1 << np.arange(BITS, dtype=np.uint32)])
    codes = (exact.codes[:, None] ^ masks).ravel()
    return Probes(codes, np.repeat(exact.positions, len(masks)))


def align(query: Codes, reference: Codes, shift: int) -> Alignment | None:
    """Compares bit by bit at `shift` and delimits the part that agrees; None where none does."""
    return _align(query, reference, shift, _expected_errors(query, reference))


def rank(query: Codes, references: Sequence[Reference], compared_codes: int) -> list[Found]:
    """Compares with each reference where it fits best; the least likely by chance come first."""
    found = [
        Found(
            reference.recording,
            alignment,
            false_positive_rate(alignment, len(query), compared_codes),
        )
        for reference in references
        if (alignment := best_alignment(query, reference.codes, reference.shifts)) is not None
    ]
    return sorted(found, key=lambda each: _evidence(each.alignment), reverse=True)


def covers(alignment: Alignment, query: Codes, reference: Codes) -> bool:
    """Says whether two recordings are copies of each other: alike, and nearly from end to end."""
    longer = max(len(query), len(reference))
    return alignment.score >= COPY_SCORE and alignment.code_count >= COPY_SHARE * longer


def best_alignment(query: Codes, reference: Codes, shifts: Set[int]) -> Alignment | None:
    """Aligns at every shift, and one beside it, and keeps what is least likely by chance."""
    tried = {shift + nudge for shift in shifts for nudge in (-1, 0, 1)}
    expected = _expected_errors(query, reference)
    found = [_align(query, reference, shift, expected) for shift in sorted(tried)]
    return max(
        (alignment for alignment in found if alignment is not None),
        key=_evidence,
        default=None,
    )


def false_positive_rate(alignment: Alignment, query_codes: int, compared_codes: int) -> float:
    """Says how often unknown music agrees as well with any of `compared_codes` of references."""
    pairs = max(1.0, query_codes / CHANCE_CODES) * max(1.0, compared_codes / CHANCE_CODES)
    rarity = math.exp(min(0.0, (CHANCE_ONSET - _evidence(alignment)) / CHANCE_SCALE))
    return min(1.0, pairs * CHANCE_AT_ONSET * rarity)


def _align(query: Codes, reference: Codes, shift: int, expected: float) -> Alignment | None:
    start, end = max(0, -shift), min(len(query), len(reference) - shift)
    if end - start < MINIMUM_CODES:
        return None
    differing = query[start:end] ^ reference[start + shift : end + shift]
    errors = np.bitwise_count(differing) / BITS
    first, last = _best_run(AGREEMENT * expected - errors)
    if last - first < MINIMUM_CODES:
        return None
    rate = float(errors[first:last].mean())
    return Alignment(
        query_start_code=start + first,
        reference_start_code=start + first + shift,
        code_count=last - first,
        bit_error_rate=rate,
        score=max(0.0, 1.0 - rate / expected) if expected else 0.0,
    )


def _evidence(alignment: Alignment) -> float:
    """Scores scatter by chance as 1 / sqrt(n); this does not depend on n."""
    return alignment.score * math.sqrt(alignment.code_count)


def _bit_shares(codes: Codes) -> npt.NDArray[np.float64]:
    """How often each of the 32 bits is set: never, where there are no codes."""
    if not codes.size:
        return np.zeros(BITS)
    as_bits = np.unpackbits(codes.astype("<u4").view(np.uint8).reshape(-1, 4), axis=1)
    return np.asarray(as_bits.mean(axis=0), dtype=np.float64)


def _expected_errors(query: Codes, reference: Codes) -> float:
    ours, theirs = _bit_shares(query), _bit_shares(reference)
    return float(np.mean(ours + theirs - 2.0 * ours * theirs))


def _best_run(gains: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Finds the run with the greatest sum, `[first, last)` (J. Bentley, 1984, algorithm 4)."""
    sums = np.concatenate([[0.0], np.cumsum(gains)])
    lowest = np.minimum.accumulate(sums)
    last = int(np.argmax(sums - lowest))
    first = int(np.argmin(sums[: last + 1]))
    return first, last
