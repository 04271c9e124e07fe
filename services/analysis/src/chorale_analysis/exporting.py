"""What was found, as text that other programs read: LAB, CSV and JAMS."""

import csv
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chorale_analysis.harmony import Chord
from chorale_analysis.sheet import Mark, Sheet

_NAMESPACES = {"chords": "chord_harte", "key": "key_mode", "structure": "segment_open"}
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same sheet gives the same bytes


def lab(sheet: Sheet) -> dict[str, bytes]:
    """`start end label` per line in seconds for each track; beats as `time position`."""
    files = {
        f"{name}.lab": "".join(
            f"{m.start_seconds:.6f} {m.end_seconds:.6f} {m.label or 'unknown'}\n" for m in marks
        )
        for name, marks in sheet.tracks.items()
    }
    if sheet.beats:
        files["beats.lab"] = "".join(f"{b.seconds:.6f} {b.position}\n" for b in sheet.beats)
    return {name: text.encode() for name, text in files.items()}


def tables(sheet: Sheet) -> dict[str, bytes]:
    """One CSV table for each track, with a line that names its columns."""
    files = {
        f"{name}.csv": _table(
            ("start_seconds", "end_seconds", "label", "confidence"),
            [
                (f"{m.start_seconds:.6f}", f"{m.end_seconds:.6f}", m.label, f"{m.confidence:.4f}")
                for m in marks
            ],
        )
        for name, marks in sheet.tracks.items()
    }
    if sheet.beats:
        files["beats.csv"] = _table(
            ("seconds", "position", "confidence"),
            [(f"{b.seconds:.6f}", str(b.position), f"{b.confidence:.4f}") for b in sheet.beats],
        )
    return files


def jams(sheet: Sheet, engines: Mapping[str, str]) -> bytes:
    """JAMS 0.3: one annotation for each track, by the engine that made it."""
    annotations = [
        _annotation(sheet, _NAMESPACES[name], _observed(name, marks), engines.get(name, ""))
        for name, marks in sheet.tracks.items()
    ]
    if sheet.beats:
        beats = [
            {"time": b.seconds, "duration": 0.0, "value": b.position or None,
             "confidence": b.confidence}
            for b in sheet.beats
        ]  # fmt: skip
        by = engines.get("beats", "")
        annotations.append(_annotation(sheet, "beat", beats, by))
        tempo = [{"time": sheet.start_seconds, "duration": sheet.end_seconds - sheet.start_seconds,
                  "value": sheet.bpm, "confidence": sheet.bpm_confidence}]  # fmt: skip
        annotations.append(_annotation(sheet, "tempo", tempo, by))
    document = {
        "annotations": annotations,
        "file_metadata": {
            "title": "",
            "artist": "",
            "release": "",
            "duration": sheet.end_seconds,
            "identifiers": {"chorale": sheet.audio},
            "jams_version": "0.3.4",
        },
        "sandbox": {},
    }
    return json.dumps(document, indent=1).encode()


def simplified(sheet: Sheet) -> Sheet:
    """As people read it: chords of five types that last, and a whole tempo."""
    # Here, not above: the service's own process starts without numpy.
    from chorale_analysis import chord_editing

    chords = [Chord(m.start_seconds, m.end_seconds, m.label, m.confidence) for m in sheet.chords]
    plain = chord_editing.merged(chord_editing.simplified(chords))
    marks = (Mark(c.start_seconds, c.end_seconds, c.label, c.confidence) for c in plain)
    return replace(sheet, chords=tuple(marks), bpm=float(round(sheet.bpm)))


def packed(files: Mapping[str, bytes]) -> bytes:
    """Files as a zip; the same files give the same bytes."""
    store = io.BytesIO()
    with zipfile.ZipFile(store, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in files.items():
            bundle.writestr(zipfile.ZipInfo(name, _ZIP_TIME), data, zipfile.ZIP_DEFLATED)
    return store.getvalue()


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _observed(name: str, marks: tuple[Mark, ...]) -> list[dict[str, Any]]:
    return [
        {
            "time": m.start_seconds,
            "duration": m.end_seconds - m.start_seconds,
            "value": _key_mode(m.label) if name == "key" else m.label,
            "confidence": m.confidence,
        }
        for m in marks
    ]


def _key_mode(key: str) -> str:
    """`Eb major` as JAMS has it, `Eb:major`."""
    return key.replace(" ", ":") or "N"


def _annotation(
    sheet: Sheet, namespace: str, data: list[dict[str, Any]], engine: str
) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "time": sheet.start_seconds,
        "duration": sheet.end_seconds - sheet.start_seconds,
        "annotation_metadata": {
            "curator": {"name": "", "email": ""},
            "annotator": {},
            "version": engine,
            "corpus": "",
            "annotation_tools": "chorale",
            "annotation_rules": "",
            "validation": "",
            "data_source": "program",
        },
        "sandbox": {},
        "data": data,
    }
