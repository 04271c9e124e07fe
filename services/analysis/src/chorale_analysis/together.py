"""Several things listened for at once: what they share is heard once."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from chorale_analysis import chord_editing, chord_orders
from chorale_analysis.beats import track_beats
from chorale_analysis.chords import recognize
from chorale_analysis.chroma import ChromaListener
from chorale_analysis.dynamics import DynamicsSettings
from chorale_analysis.harmony import ChordSettings, Harmony
from chorale_analysis.key import detect_key
from chorale_analysis.levels import LevelListener
from chorale_analysis.onsets import OnsetListener
from chorale_analysis.opinions import Opinion
from chorale_analysis.pitches import PitchListener
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.segmentation import segment
from chorale_analysis.spectra import RATE_HZ, Array
from chorale_analysis.structure import StructureSettings
from chorale_analysis.tonality import KeySettings, Tonality
from chorale_analysis.wishes import Finding, Settings

OURS, MADMOM, OURS_WITH_MADMOM = "chorale", "madmom", "chorale+madmom"
_BEATS_FOR_CHORDS, _KEY_FOR_CHORDS = "beats for chords", "key for chords"


class _Listener(Protocol):
    rate_hz: int

    def push(self, block: Array) -> None: ...
    def find(self, duration_seconds: float) -> dict[str, Finding]: ...


class _Network(Protocol):
    def opinion(self) -> Opinion: ...


class Ears:
    """Listens once for all that is wished of the engines called `chorale`.

    What is wished for is told by the settings of each, by the name of what they are for. Where a
    network listens to the same sound, its opinion of beats counts too.
    """

    rate_hz = RATE_HZ

    def __init__(
        self,
        wishes: Mapping[str, Settings],
        levels: LevelListener | None = None,
        network: _Network | None = None,
    ) -> None:
        self._wishes, self._levels, self._network = wishes, levels, network
        kinds = {type(settings) for settings in wishes.values()}
        of_onsets = {RhythmSettings, ChordSettings, StructureSettings, DynamicsSettings}
        self._onsets = OnsetListener() if kinds & of_onsets else None
        self._pitches = PitchListener() if kinds & {ChordSettings, StructureSettings} else None
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
        classes = chroma or (pitches.chroma if pitches else None)
        found: dict[str, Finding] = {}
        for name, wish in self._wishes.items():
            if isinstance(wish, RhythmSettings) and onsets:
                opinion = self._network.opinion() if self._network else None
                found[name] = track_beats(onsets, duration_seconds, wish, opinion)
            elif isinstance(wish, KeySettings) and classes:
                found[name] = detect_key(classes, duration_seconds, wish)
            elif isinstance(wish, ChordSettings) and pitches and onsets:
                found[name] = recognize(pitches, onsets, duration_seconds, wish)
            elif isinstance(wish, DynamicsSettings) and self._levels and onsets:
                found[name] = self._levels.find(wish, onsets)
        for name, wish in self._wishes.items():
            if isinstance(wish, StructureSettings) and pitches and onsets:
                beats = next((one for one in found.values() if isinstance(one, Rhythm)), None)
                beats = beats or track_beats(onsets, duration_seconds, RhythmSettings())
                found[name] = segment(pitches, beats, duration_seconds, wish)
        return found


class Company:
    """Ears of every maker that something is wished of."""

    def __init__(
        self,
        wishes: Mapping[str, Settings],
        makers: Mapping[str, str],
        weights: Mapping[str, str] = MappingProxyType({}),
        levels: LevelListener | None = None,
    ) -> None:
        self._wishes = dict(wishes)
        ours = {
            name: wish for name, wish in wishes.items() if makers[name] in (OURS, OURS_WITH_MADMOM)
        }
        theirs = {name: wish for name, wish in wishes.items() if makers[name] == MADMOM}
        harmonies = [wish for wish in wishes.values() if isinstance(wish, ChordSettings)]
        if not any(isinstance(wish, RhythmSettings) for wish in wishes.values()) and any(
            wish.editing.beat_synchronous for wish in harmonies
        ):
            ours[_BEATS_FOR_CHORDS] = RhythmSettings()
        if harmonies and not any(isinstance(wish, KeySettings) for wish in wishes.values()):
            ours[_KEY_FOR_CHORDS] = KeySettings()
        self.listeners: list[_Listener] = []
        network = None
        if theirs or OURS_WITH_MADMOM in makers.values():
            from chorale_analysis.madmom_ears import MadmomEars

            network = MadmomEars(theirs)
            self.listeners.append(network)
        if ours:
            helped = OURS_WITH_MADMOM in makers.values()
            self.listeners.append(Ears(ours, levels, network if helped else None))
        for maker, path in weights.items():
            published = {name: wish for name, wish in wishes.items() if makers[name] == maker}
            if published:
                from chorale_analysis.published_ears import listening

                self.listeners.append(listening(maker, published, path))

    def find(self, duration_seconds: float) -> dict[str, Finding]:
        """All that was wished for; chords stand in the key and on the beats that were found."""
        found: dict[str, Finding] = {}
        for listener in self.listeners:
            found |= listener.find(duration_seconds)
        rhythm = next((one for one in found.values() if isinstance(one, Rhythm)), None)
        key = next((one.key for one in found.values() if isinstance(one, Tonality)), "")
        for name, settings in self._wishes.items():
            heard = found[name]
            if isinstance(heard, Harmony) and isinstance(settings, ChordSettings):
                found[name] = _edited(heard, settings, key, rhythm)
        return {name: found[name] for name in self._wishes}


def _edited(heard: Harmony, settings: ChordSettings, key: str, rhythm: Rhythm | None) -> Harmony:
    """Chords as their settings order, with figures over them."""
    beats = [beat.seconds for beat in rhythm.beats] if rhythm else []
    done = chord_orders.edited(heard.chords, settings.editing, key, beats)
    figures = chord_editing.statistics(done.chords, done.key)
    return Harmony(done.chords, heard.vocabulary, done.key, figures)
