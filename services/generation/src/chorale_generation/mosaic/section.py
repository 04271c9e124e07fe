"""One section of a mosaic as sound."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chorale_generation.mosaic.accents import accented
from chorale_generation.mosaic.arrangement import Arrangement, Section
from chorale_generation.mosaic.asked import Output
from chorale_generation.mosaic.joins import joined
from chorale_generation.mosaic.loudness import levelled
from chorale_generation.mosaic.parts import parts
from chorale_generation.mosaic.spectra import Samples
from chorale_generation.mosaic.stretch import Clock, Floats, strokes, tones
from chorale_generation.mosaic.transfer import Transfer, transfer

LEAD_SECONDS = 0.015  # a join ends before the bar line: strokes on it are whole
FADES_SECONDS = (0.02, 0.04, 0.08, 0.16)  # that are tried where none is asked for
SLACK_SECONDS = 0.25  # how much earlier it may be, where that is heard less
CEILING_DBTP = -1.0
_MARGIN_SECONDS = 0.25  # of the source around a section, for windows that reach out of it
_HARMONIC_RMS, _PERCUSSIVE_RMS = 0.1, 0.1  # that parts are brought to before they are mixed
_BOOST_MAX = 4.0  # how much more of a part is made than its track has
_LEAST_MEASURED_SECONDS = 1.5

Reading = Callable[[int, float, float], Samples]
"""Reads a track, 0 or 1, from one of its moments to another; silence where there is none."""


@dataclass(frozen=True)
class Place:
    """The frames of a section: first those that may fade in over the section before."""

    first_frame: int
    body_frame: int
    end_frame: int


@dataclass(frozen=True)
class Piece:
    """Frames that are final, and those that the next section fades into."""

    frames: Samples
    tail: Samples
    transfer: Transfer
    join: slice  # the frames of the whole in which it fades in


def places(arrangement: Arrangement, output: Output) -> list[Place]:
    """Where every section lies; together they are the whole, and each join overlaps once."""
    rate_hz = output.sample_rate_hz
    bodies = [
        max(0, min(output.frame_count, round((section.start_seconds - LEAD_SECONDS) * rate_hz)))
        for section in arrangement.sections
    ]
    ends = [*bodies[1:], output.frame_count]
    lengths = [end - body for body, end in zip(bodies, ends, strict=True)]
    longest = _fades(arrangement, rate_hz)[-1] + round(SLACK_SECONDS * rate_hz)
    rooms = [0, *(min(longest, min(pair) // 2) for pair in itertools.pairwise(lengths))]
    return [
        Place(body - room, body, end) for body, room, end in zip(bodies, rooms, ends, strict=True)
    ]


def _fades(arrangement: Arrangement, rate_hz: int) -> list[int]:
    """How many frames a crossfade may be long."""
    lengths = [arrangement.crossfade_seconds] if arrangement.crossfade_seconds else FADES_SECONDS
    return [round(seconds * rate_hz) for seconds in lengths]


def piece(
    arrangement: Arrangement, number: int, read: Reading, output: Output, tail: Samples, seed: int
) -> Piece:
    """Makes section `number`, given what the one before left to fade out."""
    all_places = places(arrangement, output)
    place = all_places[number]
    voices = _voices(arrangement, arrangement.sections[number], place, read, output)
    mix = voices[0] + voices[1]
    made = levelled(
        mix, _measured(place, output), output.sample_rate_hz, output.loudness_lufs, CEILING_DBTP
    )
    join = slice(0, 0)
    if len(tail):
        fades = [min(fade, len(tail)) for fade in _fades(arrangement, output.sample_rate_hz)]
        made, at = joined(tail, made, fades, output.sample_rate_hz)
        join = slice(place.first_frame + at.start, place.first_frame + at.stop)
    is_last = number == len(all_places) - 1
    kept = 0 if is_last else place.end_frame - all_places[number + 1].first_frame
    final = len(made) - kept
    draws = np.random.default_rng([seed, number])
    return Piece(
        quantised(made[:final], output.bit_depth, draws),
        made[final:],
        transfer(voices, mix, output.sample_rate_hz),
        join,
    )


def quantised(sound: Samples, bit_depth: int, draws: np.random.Generator) -> Samples:
    """The sound on the grid of a file, with triangular dither of one step."""
    scale = float(2 ** (bit_depth - 1))
    dither = draws.random(sound.shape, np.float32) - draws.random(sound.shape, np.float32)
    steps = np.round(sound.astype(np.float64) * scale + dither)
    made: Samples = (np.clip(steps, -scale, scale - 1.0) / scale).astype(np.float32)
    return made


def _measured(place: Place, output: Output) -> slice:
    """The body; all there is where the body is too short to be measured."""
    fade = place.body_frame - place.first_frame
    short = place.end_frame - place.body_frame < _LEAST_MEASURED_SECONDS * output.sample_rate_hz
    return slice(0 if short else fade, None)


def _voices(
    arrangement: Arrangement, section: Section, place: Place, read: Reading, output: Output
) -> list[Samples]:
    """What each track gives, on the beats of the result."""
    beat_seconds = 60.0 / arrangement.bpm
    beats = np.arange(section.beat_count + 1, dtype=np.float64) * beat_seconds
    beats += section.start_seconds
    voices = []
    for track in (0, 1):
        percussive = arrangement.gains.percussive[track]
        harmonic = arrangement.gains.harmonic[track]
        if not percussive and not harmonic:
            count = place.end_frame - place.first_frame
            voices.append(np.zeros((count, output.channel_count), np.float32))
            continue
        voice = _Voice(read, track, section.beats_seconds[track], beats, place, output)
        voices.append(voice.played(percussive, harmonic, arrangement.shifts.semitones[track]))
    if not arrangement.has_beats:
        return voices
    first_seconds = place.first_frame / output.sample_rate_hz
    return accented(voices, output.sample_rate_hz, first_seconds, beats)


class _Voice:
    """What one track gives to a section."""

    def __init__(
        self,
        read: Reading,
        track: int,
        moments: tuple[float, ...],
        beats: Floats,
        place: Place,
        output: Output,
    ) -> None:
        self._rate_hz, self._beats = output.sample_rate_hz, beats
        self._first_seconds = place.first_frame / self._rate_hz
        self._count = place.end_frame - place.first_frame
        pace = (moments[1] - moments[0]) / (beats[1] - beats[0])
        early = pace * (place.body_frame - place.first_frame) / self._rate_hz
        begin = moments[0] - early - _MARGIN_SECONDS
        self._sound = read(track, begin, moments[-1] + _MARGIN_SECONDS)
        self._clock = Clock(beats.tolist(), [moment - begin for moment in moments])

    def played(self, percussive: float, harmonic: float, semitones: int) -> Samples:
        """The parts at their levels, on the beats of the result."""
        taken = parts(self._sound, self._rate_hz)
        whole = _rms(self._sound)
        mix = np.zeros((self._count, self._sound.shape[1]), np.float32)
        if percussive:
            part = strokes(
                taken.percussive,
                self._rate_hz,
                self._clock,
                self._first_seconds,
                self._count,
                self._beats,
                semitones,
            )
            gain = percussive * _gain(taken.percussive, whole, _PERCUSSIVE_RMS)
            mix += part * np.float32(gain)
        if harmonic:
            part = tones(
                taken.harmonic,
                self._rate_hz,
                self._clock,
                self._first_seconds,
                self._count,
                semitones,
            )
            gain = harmonic * _gain(taken.harmonic, whole, _HARMONIC_RMS)
            mix += part * np.float32(gain)
        return mix


def _gain(part: Samples, whole: float, level: float) -> float:
    """To the common level, and not much further than the whole track would need to go."""
    return min(level / max(_rms(part), 1e-6), _BOOST_MAX * level / max(whole, 1e-6))


def _rms(sound: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if sound.size else 0.0
