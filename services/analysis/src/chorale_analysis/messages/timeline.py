"""Everything found in a source: one time line, and a sheet of it for files."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from chorale.analysis.v1 import timeline_pb2
from chorale.audio.v1 import audio_pb2
from chorale_audio.source import Source

from chorale_analysis.messages.engines import heard_span
from chorale_analysis.sheet import BeatMark, Mark, Sheet


def timeline(source: Source, fields: Mapping[str, Any]) -> timeline_pb2.Timeline:
    """One time line of the responses to each feature, by the name of its field."""
    line = timeline_pb2.Timeline(
        audio=source.audio, span=heard_span(source), sample_rate_hz=source.sample_rate_hz
    )
    for field, response in fields.items():
        getattr(line, field).CopyFrom(getattr(response, field))
        line.provenance[field].CopyFrom(response.provenance)
    _fill_bars(line)
    return line


def _fill_bars(line: timeline_pb2.Timeline) -> None:
    """What sounds in every bar: one pass over each track."""
    beats = [beat.frame for beat in line.beats.beats]
    at_chord = _Walk([(c.start_frame, c.label) for c in line.chords.chords])
    at_key = _Walk([(r.span.start_frame, r.key) for r in line.key.regions])
    sections = line.structure.sections
    at_section = _Walk([(s.span.start_frame, n) for n, s in enumerate(sections)])
    loudness = _Loudness(line)
    place = 0
    for bar in line.beats.bars:
        last = bar.start_frame + bar.frame_count
        chords = []
        while place < len(beats) and beats[place] < last:
            if beats[place] >= bar.start_frame:
                chords.append(at_chord.at(beats[place], "N"))
            place += 1
        middle = bar.start_frame + bar.frame_count // 2
        line.bars.add(
            number=bar.number,
            span=audio_pb2.FrameSpan(start_frame=bar.start_frame, frame_count=bar.frame_count),
            chords=chords if line.chords.chords else [],
            key=at_key.at(middle, ""),
            section_index=at_section.at(middle, -1),
            loudness_lufs=loudness.of(bar.start_frame, last),
        )


class _Loudness:
    """Loudness of stretches, from the curve of momentary loudness; 0 where none was asked for."""

    def __init__(self, line: timeline_pb2.Timeline) -> None:
        self._hop = line.dynamics.hop_frames
        self._start = line.span.start_frame
        self._curve = line.dynamics.momentary_lufs

    def of(self, first_frame: int, last_frame: int) -> float:
        """The loudness of frames: the mean power of all points within."""
        if not self._curve:
            return 0.0
        first, last = ((f - self._start) // self._hop for f in (first_frame, last_frame))
        within = self._curve[first : max(first + 1, last)] or self._curve[-1:]
        return 10.0 * math.log10(statistics.fmean(10.0 ** (each / 10.0) for each in within))


class _Walk:
    """What holds at frames that only grow."""

    def __init__(self, starts: Sequence[tuple[int, Any]]) -> None:
        self._starts, self._place = starts, -1

    def at(self, frame: int, otherwise: Any) -> Any:
        """What began last; something else before the first."""
        while self._place + 1 < len(self._starts) and self._starts[self._place + 1][0] <= frame:
            self._place += 1
        return self._starts[self._place][1] if self._place >= 0 else otherwise


def sheet(line: timeline_pb2.Timeline, fields: Sequence[str] = ()) -> Sheet:
    """A time line for files, all of it or some of its fields."""
    rate = line.sample_rate_hz or 1
    start = line.span.start_frame / rate

    def wanted(field: str) -> bool:
        return not fields or field in fields

    def seconds(span: audio_pb2.FrameSpan) -> tuple[float, float]:
        return span.start_frame / rate, (span.start_frame + span.frame_count) / rate

    beats = line.beats if wanted("beats") else timeline_pb2.Timeline().beats
    return Sheet(
        audio=line.audio,
        start_seconds=start,
        end_seconds=start + line.span.frame_count / rate,
        beats=tuple(BeatMark(b.seconds, b.position, b.confidence) for b in beats.beats),
        beats_per_bar=beats.beats_per_bar,
        is_compound=beats.time_signature.endswith("/8"),
        bpm=beats.bpm,
        bpm_confidence=beats.bpm_confidence,
        chords=tuple(
            Mark(c.start_seconds, c.end_seconds, c.label, c.confidence)
            for c in line.chords.chords
            if wanted("chords")
        ),
        keys=tuple(
            Mark(*seconds(r.span), r.key, r.confidence) for r in line.key.regions if wanted("key")
        ),
        sections=tuple(
            Mark(s.start_seconds, s.end_seconds, section_label(s.label), s.confidence)
            for s in line.structure.sections
            if wanted("structure")
        ),
    )


def section_label(value: int) -> str:
    """A section's label as people write it; empty when not known."""
    name = audio_pb2.SectionLabel.Name(value).removeprefix("SECTION_LABEL_").lower()
    return "" if name == "unspecified" else name
