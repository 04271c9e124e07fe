"""Several things listened for at once: what they share is heard once."""

from collections.abc import Mapping

from chorale_analysis import chord_editing, chord_orders
from chorale_analysis.beats import track_beats
from chorale_analysis.chords import recognize
from chorale_analysis.chroma import ChromaListener
from chorale_analysis.harmony import ChordSettings, Harmony
from chorale_analysis.key import detect_key
from chorale_analysis.onsets import OnsetListener
from chorale_analysis.pitches import PitchListener
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.spectra import Array
from chorale_analysis.tonality import KeySettings
from chorale_analysis.wishes import Finding, Settings


class Ears:
    """Listens once for all that is wished of the engines called `chorale`.

    What is wished for is told by the settings of each, by the name of what they are for.
    """

    def __init__(self, wishes: Mapping[str, Settings]) -> None:
        self._wishes = wishes
        kinds = {type(settings) for settings in wishes.values()}
        self._onsets = OnsetListener() if kinds & {RhythmSettings, ChordSettings} else None
        self._pitches = PitchListener() if ChordSettings in kinds else None
        # Chords bring the classes that keys are found from.
        alone = KeySettings in kinds and not self._pitches
        self._classes = ChromaListener() if alone else None

    def push(self, block: Array) -> None:
        """Listens to the next mono block at `RATE_HZ`."""
        for listener in (self._onsets, self._pitches, self._classes):
            if listener is not None:
                listener.push(block)

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """All that was wished for, once the stream has ended."""
        onsets = self._onsets.finish() if self._onsets else None
        pitches = self._pitches.finish() if self._pitches else None
        chroma = self._classes.finish() if self._classes else None
        rhythm: Rhythm | None = None

        def beats(settings: RhythmSettings) -> Rhythm:
            assert onsets is not None
            return track_beats(onsets, duration_seconds, settings)

        found: dict[str, Finding] = {}
        for name, settings in self._wishes.items():
            if isinstance(settings, RhythmSettings):
                found[name] = rhythm = beats(settings)
            elif isinstance(settings, KeySettings):
                classes = chroma or (pitches.chroma if pitches else None)
                assert classes is not None
                found[name] = detect_key(classes, duration_seconds, settings)
        for name, settings in self._wishes.items():
            if isinstance(settings, ChordSettings):
                assert onsets is not None
                assert pitches is not None
                heard = recognize(pitches, onsets, duration_seconds, settings)
                if settings.editing.beat_synchronous and rhythm is None:
                    rhythm = beats(RhythmSettings())
                found[name] = edited_harmony(heard, settings, rhythm)
        return found


def edited_harmony(heard: Harmony, settings: ChordSettings, rhythm: Rhythm | None) -> Harmony:
    """Chords as their settings order, on the beats that were heard."""
    beats = [beat.seconds for beat in rhythm.beats] if rhythm else []
    done = chord_orders.edited(heard.chords, settings.editing, heard.key, beats)
    figures = chord_editing.statistics(done.chords, done.key)
    return Harmony(done.chords, heard.vocabulary, done.key, figures)
