"""Lead sheets in MusicXML: bars with the chords over them."""

from xml.sax.saxutils import escape

from chorale_analysis import harte
from chorale_analysis.sheet import Mark, Sheet

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
    bars = _bars(sheet)
    body = "".join(_measure(sheet, number, bar, number == 0) for number, bar in enumerate(bars))
    return f"{_HEAD}{body}  </part>\n</score-partwise>\n".encode()


def _bars(sheet: Sheet) -> list[list[int]]:
    """The beats of each bar, by their places; a pickup first if there is one."""
    bars: list[list[int]] = []
    for place, beat in enumerate(sheet.beats):
        if beat.position == 1 or not bars:
            bars.append([])
        bars[-1].append(place)
    return bars or [[]]


def _measure(sheet: Sheet, number: int, bar: list[int], is_first: bool) -> str:
    is_pickup = is_first and bool(bar) and sheet.beats[bar[0]].position != 1
    implicit = ' implicit="yes"' if is_pickup else ""
    lines = [f'    <measure number="{0 if is_pickup else number + 1}"{implicit}>\n']
    if is_first:
        lines.append(_attributes(sheet))
    lines += _rehearsal(sheet, bar)
    length = _DIVISIONS * 3 // 2 if sheet.is_compound else _DIVISIONS
    dot = "<dot/>" if sheet.is_compound else ""
    for place in bar:
        lines += [_harmony(chord) for chord in _beginning(sheet, place)]
        lines.append(
            f"      <note><rest/><duration>{length}</duration><type>quarter</type>{dot}</note>\n"
        )
    return "".join([*lines, "    </measure>\n"])


def _attributes(sheet: Sheet) -> str:
    key = sheet.keys[0].label if sheet.keys else ""
    fifths, mode = 0, "major"
    if key:
        tonic, _, mode = key.partition(" ")
        fifths = _FIFTHS[(harte.pitch_class(tonic) + (3 if mode == "minor" else 0)) % 12]
    beats = (sheet.beats_per_bar or 4) * (3 if sheet.is_compound else 1)
    unit = 8 if sheet.is_compound else 4
    text = (
        f"      <attributes><divisions>{_DIVISIONS}</divisions>"
        f"<key><fifths>{fifths}</fifths><mode>{mode}</mode></key>"
        f"<time><beats>{beats}</beats><beat-type>{unit}</beat-type></time>"
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


def _rehearsal(sheet: Sheet, bar: list[int]) -> list[str]:
    """The names of sections that begin in the bar."""
    if not bar:
        return []
    start = sheet.beats[bar[0]].seconds
    after = bar[-1] + 1
    end = sheet.beats[after].seconds if after < len(sheet.beats) else sheet.end_seconds
    return [
        '      <direction placement="above"><direction-type>'
        f"<rehearsal>{escape(section.label)}</rehearsal></direction-type></direction>\n"
        for section in sheet.sections
        if section.label and start <= section.start_seconds < end
    ]


def _beginning(sheet: Sheet, place: int) -> list[Mark]:
    """The chords that begin nearer to this beat than to the next."""
    beats = sheet.beats
    here = beats[place].seconds
    after = beats[place + 1].seconds if place + 1 < len(beats) else sheet.end_seconds
    before = beats[place - 1].seconds if place else 2 * sheet.start_seconds - here
    low, high = 0.5 * (before + here), 0.5 * (here + after)
    return [chord for chord in sheet.chords if low <= chord.start_seconds < high]


def _harmony(chord: Mark) -> str:
    label = harte.parse(chord.label)
    if not label.is_chord:
        return (
            "      <harmony><root><root-step>C</root-step></root>"
            '<kind text="N.C.">none</kind></harmony>\n'
        )
    kind = _KINDS.get(label.quality, "other")
    text = escape(harte.display(label)[len(label.spelling) :])
    root = _pitch("root", label.spelling)
    bass = ""
    if label.bass:
        bass = f"<bass>{_pitch('bass', harte.note(label.root + label.bass))}</bass>"
    return f'      <harmony><root>{root}</root><kind text="{text}">{kind}</kind>{bass}</harmony>\n'


def _pitch(name: str, spelling: str) -> str:
    alter = spelling.count("#") - spelling.count("b")
    told = f"<{name}-alter>{alter}</{name}-alter>" if alter else ""
    return f"<{name}-step>{spelling[0]}</{name}-step>{told}"
