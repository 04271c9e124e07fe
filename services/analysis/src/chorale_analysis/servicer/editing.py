"""EditChords: chords in, chords out, nothing heard and nothing kept."""

from collections.abc import Sequence

from chorale.analysis.v1 import chords_pb2

from chorale_analysis import messages
from chorale_analysis.engines import EDITOR
from chorale_analysis.harmony import Chord

_RATE_DEFAULT_HZ = 44100


def edit(request: chords_pb2.EditChordsRequest) -> chords_pb2.EditChordsResponse:
    """Does what is asked with the chords of a request."""
    # Here, not above: the service's own process starts without numpy.
    from chorale_analysis import chord_editing, chord_orders

    rate_hz = request.sample_rate_hz or _RATE_DEFAULT_HZ
    given: Sequence[Chord] = chord_orders.from_lab(request.lab) if request.lab else _given(request)
    given = chord_orders.in_order(given)
    key = request.key or chord_orders.key_of(given)
    settings = messages.editing(request.editing)
    done = chord_orders.edited(given, settings, key, sorted(request.beat_seconds))
    track = chords_pb2.ChordTrack(
        sample_rate_hz=rate_hz,
        statistics=messages.statistics(chord_editing.statistics(done.chords, done.key)),
    )
    for chord in done.chords:
        message = messages.chord_message(chord, settings.display)
        message.start_frame = round(chord.start_seconds * rate_hz)
        message.frame_count = round(chord.end_seconds * rate_hz) - message.start_frame
        track.chords.append(message)
    response = chords_pb2.EditChordsResponse(
        chords=track,
        lab=chord_orders.to_lab(done.chords),
        key=done.key,
        warnings=done.warnings,
        provenance=messages.provenance("", EDITOR, messages.told(settings), 0.0),
    )
    for one in done.corrections:
        response.corrections.add(index=one.index, original=one.original, corrected=one.corrected)
    return response


def _given(request: chords_pb2.EditChordsRequest) -> list[Chord]:
    """The chords of a request, by their seconds; by their frames where these are not told."""
    return [messages.chord(one, request.sample_rate_hz or _RATE_DEFAULT_HZ, number)
            for number, one in enumerate(request.chords, start=1)]  # fmt: skip
