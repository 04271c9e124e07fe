"""The call that draws."""

import time
from collections.abc import AsyncIterator

from chorale.analysis.v1 import timeline_pb2
from chorale_audio.source import Source
from chorale_runtime.calls import Context
from chorale_runtime.processes import Processes
from google.api import httpbody_pb2

from chorale_analysis import engines, harte, messages
from chorale_analysis.messages.timeline import section_label, timeline
from chorale_analysis.pictures import order, rendering
from chorale_analysis.pictures.order import Order, Score, Stripe
from chorale_analysis.servicer.analyzing import AnalyzeCalls, parts
from chorale_analysis.servicer.kinds import KINDS
from chorale_analysis.servicer.listening import Asked

_FORMATS = timeline_pb2.PictureFormat
_NEEDS = {
    order.TEMPO: ("beats",),
    order.TIMELINE: ("beats", "chords", "key", "structure", "dynamics"),
}


class PictureCalls(AnalyzeCalls):
    """Part of AnalysisService."""

    _processes: Processes

    async def RenderPicture(
        self, request: timeline_pb2.RenderPictureRequest, context: Context
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """Streams a picture as a file."""
        started, wanted = time.monotonic(), _order(request)
        source = await self._listening.source(request)
        if wanted.kind in order.OF_SOUND:
            self._listening.require_seconds(source, 0.0, wanted.kind)
            data = await self._processes.run(rendering.of_source, source, wanted)
        else:
            line = await self._found(request, source, wanted.kind)
            data = await self._processes.run(rendering.of_findings, wanted, score(line))
        seconds = time.monotonic() - started
        content_type = "image/svg+xml" if wanted.is_svg else "image/png"
        told = {"kind": wanted.kind, "width": f"{wanted.width}", "height": f"{wanted.height}"}
        made_by = messages.provenance("", engines.PAINTER, told, seconds)
        async for part in parts(context, content_type, data, made_by):
            yield part

    async def _found(
        self, request: timeline_pb2.RenderPictureRequest, source: Source, kind: str
    ) -> timeline_pb2.Timeline:
        """What there is to draw: what an operation found, or what is heard now."""
        if request.operation:
            answer = await self._analyzed(request.operation)
            if answer.timeline.audio != request.audio:
                raise messages.SettingUnsupported(
                    "operation", request.operation, engines.PAINTER.name,
                    f"an Analyze of {request.audio}",
                )  # fmt: skip
            return answer.timeline
        asked = await self._asked(source, kind)
        answers = await self._listening.found(self._processes.run, asked)
        return timeline(source, {one.kind.field: answers[one.kind.capability] for one in asked})

    async def _asked(self, source: Source, kind: str) -> list[Asked]:
        """The kinds of listening that a picture needs and the sound is long enough for.

        The questions are those that `Analyze` asks, so its answers are drawn if they are kept.
        """
        needed = [KINDS[name] for name in _NEEDS[kind]]
        fit = [one for one in needed if one.least_seconds <= source.duration_seconds]
        if not fit:
            shortest = min(one.least_seconds for one in needed)
            self._listening.require_seconds(source, shortest, kind)
        asking = timeline_pb2.AnalyzeRequest()
        return [await self._listening.asked_of(source, one, asking, "") for one in fit]


def _order(request: timeline_pb2.RenderPictureRequest) -> Order:
    kind = timeline_pb2.PictureKind.Name(request.kind).removeprefix("PICTURE_KIND_").lower()
    width = request.width_pixels or order.WIDTH_DEFAULT
    height = request.height_pixels or order.HEIGHT_DEFAULT
    for name, given, least in (
        ("width_pixels", width, order.WIDTH_LEAST),
        ("height_pixels", height, order.HEIGHT_LEAST),
    ):
        if given < least:
            raise messages.SettingUnsupported(
                name, f"{given}", engines.PAINTER.name, f"at least {least}"
            )
    is_svg = request.format == _FORMATS.PICTURE_FORMAT_SVG
    return Order(kind, width, height, is_svg, request.dark)


def _short(label: str) -> str:
    """A chord as people write it, with a capital for what is major."""
    return harte.display(harte.parse(label)).replace("maj", "M")


def score(line: timeline_pb2.Timeline) -> Score:
    """A time line for drawing."""
    rate = line.sample_rate_hz or 1
    start = line.span.start_frame / rate
    roots = {label: n for n, label in enumerate(dict.fromkeys(c.label for c in line.chords.chords))}
    hop = line.dynamics.hop_frames / rate
    return Score(
        start_seconds=start,
        end_seconds=start + line.span.frame_count / rate,
        sections=tuple(
            Stripe(s.start_seconds, s.end_seconds, section_label(s.label), s.group)
            for s in line.structure.sections
        ),
        keys=tuple(
            Stripe(
                r.span.start_frame / rate,
                (r.span.start_frame + r.span.frame_count) / rate,
                r.key.replace(" m", " M"),
                number,
            )
            for number, r in enumerate(line.key.regions)
        ),
        chords=tuple(
            Stripe(c.start_seconds, c.end_seconds, _short(c.label), roots[c.label])
            for c in line.chords.chords
        ),
        beats=tuple((b.seconds, b.is_downbeat) for b in line.beats.beats),
        tempo=tuple((p.frame / rate, p.bpm) for p in line.beats.tempo_curve),
        loudness=tuple(
            (start + (n + 1) * hop, level) for n, level in enumerate(line.dynamics.momentary_lufs)
        ),
    )
