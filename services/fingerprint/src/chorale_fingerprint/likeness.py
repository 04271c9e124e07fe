"""What a match is, whichever engine found it: where, how alike, how surely.

Conventions: seconds, each on its own timeline.
"""

import math
from dataclasses import dataclass

from chorale_fingerprint import matching
from chorale_fingerprint.codes import CODE_RATE_HZ, FRAMES_IN_CODE, FRAMES_PER_CODE
from chorale_fingerprint.peaks import PITCHES_PER_SEMITONE, TIMES_PER_SECOND
from chorale_fingerprint.placing import Place

# How the best place of unknown music falls off: its evidence is CHANCE_ONSET or more in one pair of
# recordings in a thousand, and every further CHANCE_SCALE is e times as rare. See README.
CHANCE_AT_ONSET = 0.001
CHANCE_ONSET = 22.0
CHANCE_SCALE = 5.0
# The length of queries and recordings for which that holds.
CHANCE_SECONDS = 37.0
# From where on two recordings are one to the ear: this share of the seconds of the longer agrees,
# at nearly the same speed and pitch.
COPY_COVERAGE, COPY_RATIO_MAX, COPY_SEMITONES_MAX = 0.85, 0.015, 0.35


@dataclass(frozen=True)
class Likeness:
    """How a query agrees with a recording."""

    query_start_seconds: float
    query_seconds: float
    recording_start_seconds: float
    recording_seconds: float
    score: float
    false_positive_rate: float
    speed_ratio: float = 1.0
    pitch_semitones: float = 0.0
    acoustic: float = 0.0
    """The share of the query's seconds that sound as the recording does there, in [0, 1]."""


def of_codes(found: matching.Found, query_codes: int) -> Likeness:
    """What Chromaprint's codes say."""
    alignment = found.alignment
    seconds = ((alignment.code_count - 1) * FRAMES_PER_CODE + FRAMES_IN_CODE) / CODE_RATE_HZ
    per_code = FRAMES_PER_CODE / CODE_RATE_HZ
    share = min(1.0, alignment.code_count / max(1, query_codes))
    return Likeness(
        query_start_seconds=alignment.query_start_code * per_code,
        query_seconds=seconds,
        recording_start_seconds=alignment.reference_start_code * per_code,
        recording_seconds=seconds,
        score=alignment.score,
        false_positive_rate=found.false_positive_rate,
        acoustic=share if alignment.score >= matching.COPY_SCORE else share * alignment.score,
    )


def of_place(place: Place, query_seconds: float, compared_codes: int) -> Likeness:
    """What landmarks and peaks say."""
    start = place.start + place.ratio * place.query_start
    length = place.query_end - place.query_start
    semitones = -place.pitch / PITCHES_PER_SEMITONE
    is_moved = abs(place.ratio - 1.0) > COPY_RATIO_MAX or abs(semitones) > COPY_SEMITONES_MAX
    return Likeness(
        query_start_seconds=max(0.0, place.query_start / TIMES_PER_SECOND),
        query_seconds=length / TIMES_PER_SECOND,
        recording_start_seconds=max(0.0, start / TIMES_PER_SECOND),
        recording_seconds=place.ratio * length / TIMES_PER_SECOND,
        score=min(1.0, place.score),
        false_positive_rate=false_positive_rate(place.evidence, query_seconds, compared_codes),
        speed_ratio=place.ratio,
        pitch_semitones=semitones,
        # Faster, slower or transposed it is another sound, though it is the same music.
        acoustic=0.0 if is_moved else place.coverage,
    )


def false_positive_rate(evidence: float, query_seconds: float, compared_codes: int) -> float:
    """Says how often unknown music fits as well anywhere in so many codes of recordings."""
    pairs = max(1.0, compared_codes / matching.CHANCE_CODES)
    pairs *= max(1.0, query_seconds / CHANCE_SECONDS)
    rarity = math.exp(min(0.0, (CHANCE_ONSET - evidence) / CHANCE_SCALE))
    return min(1.0, pairs * CHANCE_AT_ONSET * rarity)


def is_copy(likeness: Likeness, query_seconds: float, recording_seconds: float) -> bool:
    """Says whether two recordings are one to the ear: alike, and nearly from end to end."""
    longer = max(query_seconds, recording_seconds)
    shorter = min(query_seconds, recording_seconds)
    return (
        likeness.acoustic >= COPY_COVERAGE
        and shorter >= matching.COPY_SHARE * longer
        and likeness.query_seconds >= COPY_COVERAGE * longer
    )
