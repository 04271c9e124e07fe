"""Standard MIDI files: type 1, 480 ticks per quarter, in the time of the recording."""

import bisect
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chorale_analysis import harte
from chorale_analysis.sheet import Mark, Sheet

TICKS = 480  # of a quarter
_LOWEST_CHORD, _LOWEST_BASS = 55, 36  # G3, C2
_CHORD_VELOCITY, _BASS_VELOCITY = 72, 84
_FIFTHS = {0: 0, 7: 1, 2: 2, 9: 3, 4: 4, 11: 5, 6: 6, 1: -5, 8: -4, 3: -3, 10: -2, 5: -1}
_TEMPO_FREE = 500_000  # microseconds of a quarter where no beat is known: the format's default


@dataclass
class _Track:
    """Events by tick, in the order they were put there where ticks are alike."""

    events: list[tuple[int, bytes]] = field(default_factory=list)

    def meta(self, tick: int, kind: int, data: bytes) -> None:
        self.events.append((tick, bytes([0xFF, kind]) + _variable(len(data)) + data))

    def chunk(self) -> bytes:
        """The track as it is written."""
        body, now = b"", 0
        for tick, event in sorted(self.events, key=lambda one: one[0]):
            body += _variable(tick - now) + event
            now = tick
        body += b"\x00\xff\x2f\x00"
        return b"MTrk" + struct.pack(">I", len(body)) + body


class _Clock:
    """Seconds of the recording as ticks: every beat that was found lies on a beat."""

    def __init__(self, sheet: Sheet) -> None:
        self.beat_ticks = TICKS * 3 // 2 if sheet.is_compound else TICKS
        beats = [beat.seconds for beat in sheet.beats]
        self.times: list[float] = [0.0]
        self.ticks: list[int] = [0]
        if len(beats) >= 2:
            lead = max(1, round(beats[0] / (beats[1] - beats[0]))) if beats[0] > 1e-3 else 0
            self.first = lead
            self.times = ([0.0] if lead else []) + beats
            self.ticks = ([0] if lead else []) + [
                (lead + n) * self.beat_ticks for n in range(len(beats))
            ]
        else:
            self.first = 0
            self.times.append(1.0)
            self.ticks.append(2 * TICKS)

    def tick(self, seconds: float) -> int:
        """The tick of a time; before the first and after the last beat time goes on as there."""
        place = min(max(bisect.bisect_right(self.times, seconds), 1), len(self.times) - 1)
        start, end = self.times[place - 1], self.times[place]
        first, last = self.ticks[place - 1], self.ticks[place]
        share = (seconds - start) / (end - start) if end > start else 0.0
        return max(0, round(first + share * (last - first)))

    def tempi(self) -> list[tuple[int, int]]:
        """Tick and microseconds of a quarter from there on."""
        found: list[tuple[int, int]] = []
        for place in range(len(self.times) - 1):
            quarters = (self.ticks[place + 1] - self.ticks[place]) / TICKS
            micro = round(1e6 * (self.times[place + 1] - self.times[place]) / quarters)
            micro = min(max(micro, 1), 0xFFFFFF)
            if not found or found[-1][1] != micro:
                found.append((self.ticks[place], micro))
        return found or [(0, _TEMPO_FREE)]


def midi(sheet: Sheet, programs: Mapping[str, int]) -> bytes:
    """Tempo, meter, key and sections, then chords and their bass as notes."""
    clock = _Clock(sheet)
    tracks = [_conductor(sheet, clock)]
    if sheet.chords:
        tracks.append(_chords(sheet.chords, clock, programs.get("chords", 0)))
        tracks.append(_bass(sheet.chords, clock, programs.get("bass", 33)))
    head = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), TICKS)
    return head + b"".join(track.chunk() for track in tracks)


def _conductor(sheet: Sheet, clock: _Clock) -> _Track:
    track = _Track()
    if sheet.beats_per_bar:
        _meter(track, sheet, clock)
    for tick, micro in clock.tempi():
        track.meta(tick, 0x51, micro.to_bytes(3, "big"))
    for key in sheet.keys:
        if key.label:
            track.meta(clock.tick(key.start_seconds), 0x59, _signature(key.label))
    for section in sheet.sections:
        track.meta(clock.tick(section.start_seconds), 0x06, (section.label or "section").encode())
    return track


def _meter(track: _Track, sheet: Sheet, clock: _Clock) -> None:
    """Whole bars over all of it, after what is left of one before the first of them."""
    eighths = 3 if sheet.is_compound else 1  # or quarters: what the meter counts, in a beat
    unit, clicks = (3, 36) if sheet.is_compound else (2, 24)  # unit: a power of two
    start = clock.ticks[0 if not clock.first else 1]
    first = next((n for n, b in enumerate(sheet.beats) if b.position == 1), 0)
    usual = sheet.meters[0] if sheet.meters else sheet.beats_per_bar
    pickup = (start + first * clock.beat_ticks) % (usual * clock.beat_ticks)
    changes = [(0, pickup * eighths // clock.beat_ticks)] if pickup else []
    changes.append((pickup, usual * eighths))
    for bar, before, meter in zip(sheet.bars[1:], sheet.meters, sheet.meters[1:], strict=False):
        if meter != before:
            changes.append((start + bar.start * clock.beat_ticks, meter * eighths))
    for tick, count in changes:
        track.meta(tick, 0x58, bytes([count, unit, clicks, 8]))


def _chords(chords: Sequence[Mark], clock: _Clock, program: int) -> _Track:
    track = _Track()
    track.meta(0, 0x03, b"chords")
    track.events.append((0, bytes([0xC0, program])))
    for chord in chords:
        label = harte.parse(chord.label)
        if not label.is_chord:
            continue
        low = _LOWEST_CHORD + (label.root - _LOWEST_CHORD) % 12
        notes = [low + step for step in label.intervals]
        track.meta(clock.tick(chord.start_seconds), 0x01, chord.label.encode())
        _sound(track, clock, chord, 0, notes, _CHORD_VELOCITY)
    return track


def _bass(chords: Sequence[Mark], clock: _Clock, program: int) -> _Track:
    track = _Track()
    track.meta(0, 0x03, b"bass")
    track.events.append((0, bytes([0xC1, program])))
    for chord in chords:
        label = harte.parse(chord.label)
        if label.is_chord:
            low = _LOWEST_BASS + (label.root + label.bass - _LOWEST_BASS) % 12
            _sound(track, clock, chord, 1, [low], _BASS_VELOCITY)
    return track


def _sound(
    track: _Track, clock: _Clock, chord: Mark, channel: int, notes: list[int], velocity: int
) -> None:
    start = clock.tick(chord.start_seconds)
    end = max(clock.tick(chord.end_seconds), start + 1)
    for note in notes:
        track.events.append((end, bytes([0x80 | channel, note, 0])))
    for note in notes:
        track.events.append((start, bytes([0x90 | channel, note, velocity])))


def _signature(key: str) -> bytes:
    """Sharps or flats of a key, and whether it is minor."""
    tonic, _, mode = key.partition(" ")
    is_minor = mode == "minor"
    fifths = _FIFTHS[(harte.pitch_class(tonic) + (3 if is_minor else 0)) % 12]
    return struct.pack(">bB", fifths, int(is_minor))


def _variable(number: int) -> bytes:
    """A number in as many bytes of seven bits as it takes."""
    found = [number & 0x7F]
    while number := number >> 7:
        found.append(0x80 | number & 0x7F)
    return bytes(found[::-1])
