"""The song's way through the mesh: chapter by chapter, each with what it found."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from chorale.ingest.v1.audio_pb2 import Audio
from chorale_client import AsyncChorale, ChoraleError, MeshNotFoundError, NotServedError
from chorale_client.tracing import one_trace, trace_id, traceparent
from numpy.typing import NDArray

from chorale_mesh.demo.song import Song

Progress = Callable[[str, float], None]
"""Takes what is being done, and which fraction of it is done."""


@dataclass
class Journey:
    """What the chapters share: the mesh, the song, and what earlier chapters brought to light."""

    chorale: AsyncChorale
    song: Song
    progress: Progress
    audio: Audio = field(default_factory=Audio)
    signal: NDArray[np.float32] | None = None
    """The song as the mesh gave it back."""
    beats_seconds: Sequence[float] = ()


@dataclass(frozen=True)
class Finding:
    """What one chapter has to show."""

    facts: Sequence[tuple[str, str]]
    """Rows of two: what, and what was found."""
    picture: str = ""
    """Inline SVG or HTML that needs no escaping any more."""
    headline: str = ""
    """The one fact for the table on the terminal."""


@dataclass(frozen=True)
class Section:
    """One chapter to be: a later issue adds its own to SECTIONS."""

    title: str
    service: str
    """Who does the work; empty when all do."""
    tell: Callable[[Journey], Awaitable[Finding]]


@dataclass(frozen=True)
class Chapter:
    """A chapter that was told, or why it could not be."""

    title: str
    service: str
    finding: Finding
    seconds: float
    trace: str
    hindrance: str = ""

    @property
    def headline(self) -> str:
        """One line that says what came of it."""
        return self.hindrance or self.finding.headline


async def travel(journey: Journey, sections: Sequence[Section]) -> list[Chapter]:
    """Tells every section; what is not served, or fails, is told as just that."""
    return [await _told(journey, section) for section in sections]


async def _told(journey: Journey, section: Section) -> Chapter:
    begun = time.perf_counter()
    finding, hindrance = Finding(()), ""
    journey.progress(section.title, 0.0)
    with one_trace():
        trace = trace_id(traceparent())
        try:
            finding = await section.tell(journey)
        except NotServedError:
            hindrance = "not served by this build yet"
        except MeshNotFoundError:
            hindrance = f"{section.service} is not set up here"
        except ChoraleError as error:
            reason = f" ({error.reason})" if error.reason else ""
            hindrance = f"failed: {error.message}{reason}"
    journey.progress(section.title, 1.0)
    seconds = time.perf_counter() - begun
    return Chapter(section.title, section.service, finding, seconds, trace, hindrance)
