"""What may be wished for, and what is found."""

from chorale_analysis.dynamics import Dynamics, DynamicsSettings
from chorale_analysis.harmony import ChordSettings, Harmony
from chorale_analysis.rhythm import Rhythm, RhythmSettings
from chorale_analysis.structure import Form, StructureSettings
from chorale_analysis.tonality import KeySettings, Tonality

Settings = RhythmSettings | KeySettings | ChordSettings | StructureSettings | DynamicsSettings
Finding = Rhythm | Tonality | Harmony | Form | Dynamics
