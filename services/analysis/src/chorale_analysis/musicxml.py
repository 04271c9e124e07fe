"""Lead sheets in MusicXML: bars with the chords over them."""

from xml.sax.saxutils import escape

from chorale_analysis import harte
from chorale_analysis.sheet import Mark, Sheet, at

_DIVISIONS = 6  # of a quarter: a dotted one and an eighth are whole numbers of them
_FIFTHS = {0: 0, 7: 1, 2: 2, 9: 3, 4: 4, 11: 5, 6: 6, 1: -5, 8: -4, 3: -3, 10: -2, 5: -1}
_KINDS = {
    "maj": "major", "min": "minor", "dim": "diminished", "aug": "augmented", "7": "dominant",
    "maj7": "major-seventh", "min7": "minor-seventh", "dim7": "diminished-seventh",
    "hdim7": "half-diminished", "minmaj7": "major-minor", "maj6": "major-sixth",
    "min6": "minor-sixth", "sus4": "suspended-fourth", "sus2": "suspended-second",
    "9": "dominant-ninth", "maj9": "major-ninth", "min9": "minor-ninth",
}  # fmt: skip
_HEAD = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" \
"http://www.musicxml.org/dtds/partwise.dtd">
<score-partwise version="4.0">
  <part-list><score-part id="P1"><part-name>Lead sheet</part-name></score-part></part-list>
  <part id="P1">
"""


def lead_sheet(sheet: Sheet) -> bytes:
    """Every bar with a rest for each beat and the chords that begin there.

    Beats whose place in the bar is not known make one bar for all.
    """
    body, before = "", -1.0
    for number, bar in enumerate(sheet.bars or [range(0)]):
        middle = _middle(sheet, bar)
        body += _measure(sheet, number, bar, before, middle)
        before = middle
    return f"{_HEAD}{body}  </part>\n</score-partwise>\n".encode()


def _middle(sheet: Sheet, bar: range) -> float:
    """The middle of a bar, which tells its key and section, in seconds."""
    if not bar:
        return sheet.start_seconds
    return 0.5 * (sheet.beats[bar[0]].seconds + _end(sheet, bar[-1]))


def _end(sheet: Sheet, place: int) -> float:
    """Where a beat ends."""
    beats = sheet.beats
    return beats[place + 1].seconds if place + 1 < len(beats) else sheet.end_seconds


def _measure(sheet: Sheet, number: int, bar: range, before: float, middle: float) -> str:
    is_first = number == 0
    is_pickup = is_first and bool(bar) and sheet.beats[bar[0]].position != 1
    implicit = ' implicit="yes"' if is_pickup else ""
    lines = [f'    <measure number="{0 if is_pickup else number + 1}"{implicit}>\n']
    key = at(sheet.keys, middle)
    if is_first:
        lines.append(_attributes(sheet, key))
    else:
        changed = _key(key) if key != at(sheet.keys, before) else ""
        if sheet.meters[number] != sheet.meters[number - 1]:
            changed += _time(sheet, sheet.meters[number])
        if changed:
            lines.append(f"      <attributes>{changed}</attributes>\n")
    section = at(sheet.sections, middle)
    if section and section.label and (is_first or section != at(sheet.sections, before)):
        lines.append(
            '      <direction placement="above"><direction-type>'
            f"<rehearsal>{escape(section.label)}</rehearsal></direction-type></direction>\n"
        )
    length = _DIVISIONS * 3 // 2 if sheet.is_compound else _DIVISIONS
    dot = "<dot/>" if sheet.is_compound else ""
    for place in bar:
        lines += _over(sheet, place, length)
        lines.append(
            f"      <note><rest/><duration>{length}</duration><type>quarter</type>{dot}</note>\n"
        )
    return "".join([*lines, "    </measure>\n"])


def _attributes(sheet: Sheet, key: Mark | None) -> str:
    time = _time(sheet, sheet.meters[0] if sheet.meters else sheet.beats_per_bar or 4)
    text = (
        f"      <attributes><divisions>{_DIVISIONS}</divisions>{_key(key)}{time}"
        "<clef><sign>G</sign><line>2</line></clef></attributes>\n"
    )
    if sheet.bpm:
        dot = "<beat-unit-dot/>" if sheet.is_compound else ""
        text += (
            '      <direction placement="above"><direction-type><metronome>'
            f"<beat-unit>quarter</beat-unit>{dot}<per-minute>{sheet.bpm:.0f}</per-minute>"
            "</metronome></direction-type></direction>\n"
        )
    return text


def _time(sheet: Sheet, beats: int) -> str:
    count, unit = (3 * beats, 8) if sheet.is_compound else (beats, 4)
    return f"<time><beats>{count}</beats><beat-type>{unit}</beat-type></time>"


def _key(key: Mark | None) -> str:
    fifths, mode = 0, "major"
    if key and key.label:
        tonic, _, mode = key.label.partition(" ")
        fifths = _FIFTHS[(harte.pitch_class(tonic) + (3 if mode == "minor" else 0)) % 12]
    return f"<key><fifths>{fifths}</fifths><mode>{mode}</mode></key>"


def _over(sheet: Sheet, place: int, length: int) -> list[str]:
    """The chords over a beat: each after the first where it begins within the beat."""
    here, after = sheet.beats[place].seconds, _end(sheet, place)
    lines: list[str] = []
    last = 0
    for chord in _beginning(sheet, place):
        share = (chord.start_seconds - here) / max(1e-9, after - here)
        offset = max(last + 1, round(share * length)) if lines else 0
        lines.append(_harmony(chord, min(offset, length - 1)))
        last = offset
    return lines


def _beginning(sheet: Sheet, place: int) -> list[Mark]:
    """The chords that begin nearer to this beat than to the next; at first, what sounds then."""
    here = sheet.beats[place].seconds
    middle = 0.5 * (here + _end(sheet, place))
    if not place:
        return [c for c in sheet.chords if c.start_seconds < middle and c.end_seconds > here]
    low = 0.5 * (sheet.beats[place - 1].seconds + here)
    return [chord for chord in sheet.chords if low <= chord.start_seconds < middle]


def _harmony(chord: Mark, offset: int) -> str:
    label = harte.parse(chord.label)
    moved = f"<offset>{offset}</offset>" if offset else ""
    if not label.is_chord:
        return (
            "      <harmony><root><root-step>C</root-step></root>"
            f'<kind text="N.C.">none</kind>{moved}</harmony>\n'
        )
    kind = _KINDS.get(label.quality, "other")
    text = escape(harte.display(label)[len(label.spelling) :])
    root = _pitch("root", label.spelling)
    bass = ""
    if label.bass:
        bass = f"<bass>{_pitch('bass', harte.note(label.root + label.bass))}</bass>"
    kind = f'<kind text="{text}">{kind}</kind>'
    return f"      <harmony><root>{root}</root>{kind}{bass}{moved}</harmony>\n"


def _pitch(name: str, spelling: str) -> str:
    alter = spelling.count("#") - spelling.count("b")
    told = f"<{name}-alter>{alter}</{name}-alter>" if alter else ""
    return f"<{name}-step>{spelling[0]}</{name}-step>{told}"
