"""What a request for one track out of two asks for, and what it would take."""

from dataclasses import dataclass
from pathlib import Path

from chorale.audio.v1 import audio_pb2
from chorale.generation.v1 import tracks_pb2
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source, Span

from chorale_generation import engines
from chorale_generation.cascade.asked import CascadeWishes
from chorale_generation.engines import Engine
from chorale_generation.messages import cascade as cascades
from chorale_generation.messages import tracks as messages
from chorale_generation.mosaic.asked import Output, Wishes
from chorale_generation.refusals import SettingUnsupported, TrackTooShort
from chorale_generation.store.shelf import Shelf

_DEFAULT_SECONDS, _SPAN_SECONDS_MAX = 16.0, 600.0
MINIMUM_SECONDS = 2.0  # what analysis needs to hear a beat
# Measured here on one core: CPU seconds per second of sound at 24 kHz, and what starting costs.
_SECONDS_PER_SECOND = {"mosaic": 0.12, "encodec-cascade": 0.5}
_SECONDS_AT_LEAST = 1.0


@dataclass(frozen=True)
class Making:
    """A request, with all that can be known to be wrong found right."""

    engine: Engine
    sources: tuple[Source, Source]
    wishes: Wishes
    cascade: CascadeWishes
    output: Output
    title: str

    @property
    def estimate(self) -> audio_pb2.Estimate:
        """What it would take."""
        made = self.output
        frames = made.frame_count * made.channel_count
        return audio_pb2.Estimate(
            engine=self.engine.name,
            device="cpu",
            seconds=_SECONDS_AT_LEAST + frames / 24000 * _SECONDS_PER_SECOND[self.engine.name],
            output_bytes=frames * made.bit_depth // 8,
        )


class Planner:
    """Finds out what a request asks for."""

    def __init__(self, reader: AudioReader, shelf: Shelf) -> None:
        self._reader, self._shelf = reader, shelf

    async def making(self, request: tracks_pb2.GenerateFromTracksRequest) -> Making:
        """Checks a request; raises what is wrong with it."""
        engine = engines.choose(engines.TWO_TRACKS, request.engine, request.commercial_only)
        is_cascade = engine.name == engines.CASCADE
        others = "mosaic" if is_cascade else "cascade"
        if request.HasField(others):
            raise SettingUnsupported(others, "set", "unset, for this engine,")
        if is_cascade:
            cascades.require_rate(request.output)
        wished, made = messages.wishes(request.mosaic), messages.output(request.output)
        cascade = cascades.wishes(request.cascade)
        # The mosaic repeats what it is given; the cascade makes as much as it hears.
        seconds = made.frame_count / made.sample_rate_hz if is_cascade else 0.0
        default = max(_DEFAULT_SECONDS, seconds)
        clips = (request.track_1, request.track_2)
        first, second = [await self._source(clip, default) for clip in clips]
        title = request.output.title or await self._title(request)
        return Making(engine, (first, second), wished, cascade, made, title)

    async def _source(self, clip: audio_pb2.Clip, default_seconds: float) -> Source:
        span = Span(clip.span.start_frame, clip.span.frame_count)
        source = await self._reader.locate(clip.audio, span)
        most = _SPAN_SECONDS_MAX if clip.HasField("span") else default_seconds
        source = source.within(0, round(most * source.sample_rate_hz))
        least = round(MINIMUM_SECONDS * source.sample_rate_hz)
        if source.frame_count < least:
            raise TrackTooShort(source.audio, source.frame_count, least)
        return source

    async def _title(self, request: tracks_pb2.GenerateFromTracksRequest) -> str:
        names = [
            Path(await self._shelf.file_name(clip.audio)).stem or "track"
            for clip in (request.track_1, request.track_2)
        ]
        return " + ".join(names)[:200]
