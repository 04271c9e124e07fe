"""Masters: what is asked, what it would take, and what the operation does."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale.mastering.v1 import master_pb2, matching_pb2, outputs_pb2, report_pb2
from chorale_audio.reader import AudioReader
from chorale_audio.source import Source
from chorale_runtime import caller
from chorale_runtime.operations import Job
from google.protobuf import json_format
from google.protobuf.message import Message

from chorale_mastering import engines, messages
from chorale_mastering.engines import Engine
from chorale_mastering.loudness import require_window
from chorale_mastering.messages.matching import match_settings, measure
from chorale_mastering.messages.orders import Asked, orders
from chorale_mastering.messages.reports import report
from chorale_mastering.messages.settings import wishes
from chorale_mastering.orders import Order, Outcome
from chorale_mastering.servicer.costs import output_bytes, seconds_of
from chorale_mastering.store.presets import Presets
from chorale_mastering.store.rooms import Rooms
from chorale_mastering.store.shelf import Filed, Shelf
from chorale_mastering.worker.masters import MADE_SHARE, make_masters

MASTER = "chorale.mastering.v1.MasteringService/Master"


@dataclass(frozen=True)
class Mastering:
    """A request to master, with all that can be known to be wrong found right."""

    engine: Engine
    requested: str
    source: Source
    orders: tuple[Order, ...]
    settings: Mapping[str, str]

    @property
    def estimate(self) -> audio_pb2.Estimate:
        """What it would take."""
        return audio_pb2.Estimate(
            engine=self.engine.name,
            device="cpu",
            seconds=seconds_of(order.brief for order in self.orders),
            output_bytes=sum(output_bytes(order) for order in self.orders),
        )

    def provenance(self, started: float) -> engine_pb2.Provenance:
        """What made it, since a moment of the monotonic clock."""
        return messages.provenance(
            self.requested, self.engine, self.settings, time.monotonic() - started
        )


class Planner:
    """Finds out what a request asks for."""

    def __init__(self, reader: AudioReader, shelf: Shelf, presets: Presets) -> None:
        self._reader, self._shelf, self._presets = reader, shelf, presets

    async def mastering(self, request: master_pb2.MasterRequest) -> Mastering:
        """Checks a request to master."""
        return await self._mastering(request, request.audio, request.outputs)

    async def matching(self, request: matching_pb2.MatchReferenceRequest) -> Mastering:
        """Checks a request to follow a reference; what is compared is what is searched for."""
        wished = wishes(request.settings)
        match_settings(request.match, wished)
        asked = await self._mastering(request, request.audio, request.outputs)
        by = measure(request.match)
        if by is None or wished.loudness_measure is not None:
            return asked
        orders_ = tuple(
            replace(
                order,
                brief=replace(order.brief, plan=replace(order.brief.plan, loudness_measure=by)),
            )
            for order in asked.orders
        )
        return replace(asked, orders=orders_)

    async def album(self, request: master_pb2.MasterAlbumRequest) -> list[Mastering]:
        """Checks a request to master an album, track by track."""
        return [await self._mastering(request, track, [request.output]) for track in request.tracks]

    async def _mastering(
        self,
        request: master_pb2.MasterRequest
        | matching_pb2.MatchReferenceRequest
        | master_pb2.MasterAlbumRequest,
        audio: str,
        outputs: Sequence[outputs_pb2.MasterOutput],
    ) -> Mastering:
        owner, preset = caller.current().principal, getattr(request, "preset", "")
        asked = Asked(
            settings=request.settings,
            preset=await self._presets.find(owner, preset) if preset else None,
            preview=getattr(request, "preview_span", None),
            curve_points=getattr(request, "curve_points", 0),
        )
        engine = engines.choose(engines.MASTERING, request.engine)
        source = await self.source(audio)
        made = orders(asked, outputs, source, await self._shelf.file_name(audio))
        return Mastering(engine, request.engine, source, made, said(request))

    async def source(self, audio: str, span: audio_pb2.FrameSpan | None = None) -> Source:
        """Where audio, or a span of it, lies that is long enough to be measured."""
        wanted = messages.span(span) if span is not None and span.ByteSize() else None
        source = await self._reader.locate(audio, wanted)
        require_window(source.frame_count, source.sample_rate_hz)
        return source


class MasterWorks:
    """What the operation does, once a worker has taken it up."""

    def __init__(self, planner: Planner, shelf: Shelf, rooms: Rooms) -> None:
        self._planner, self._rooms = planner, rooms
        self._storing = Storing(shelf)

    async def master(self, job: Job[master_pb2.MasterRequest]) -> master_pb2.MasterResponse:
        """Masters named audio."""
        started, request = time.monotonic(), job.request
        asked = await self._planner.mastering(request)
        async with self._rooms.one() as directory:
            made = await job.run(
                make_masters, asked.source, asked.orders, directory, request.compare
            )
            made_by = asked.provenance(started)
            masters = []
            for number, (order, outcome) in enumerate(zip(asked.orders, made, strict=True)):
                share = MADE_SHARE + (1.0 - MADE_SHARE) * number / len(made)
                await job.progress("storing", share)
                masters.append(await self._storing.kept(order, outcome, [request.audio], made_by))
        return master_pb2.MasterResponse(
            masters=masters, provenance=asked.provenance(started), audio=request.audio
        )


class Storing:
    """From files in a room to the caller's audio."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def kept(
        self,
        order: Order,
        outcome: Outcome,
        parents: list[str],
        made_by: engine_pb2.Provenance,
    ) -> report_pb2.Master:
        """Keeps one master, and the input at its loudness where there is one."""
        audio = await self._shelf.keep(Filed(outcome.path, order.file_name, parents, made_by))
        signed = await self._shelf.sign(audio.name, order.file_name)
        matched = ""
        if outcome.matched_input_path:
            name = f"{order.file_name.rpartition('.')[0]}_input.wav"
            filed = Filed(outcome.matched_input_path, name, parents[:1], made_by)
            matched = (await self._shelf.keep(filed)).name
        return report_pb2.Master(
            label=order.label,
            audio=audio.name,
            url=signed.url,
            url_expire_time=signed.expire_time,
            file_name=order.file_name,
            size_bytes=audio.size_bytes,
            report=report(outcome.report),
            matched_input=matched,
            is_draft=order.brief.plan.draft,
        )


def said(request: Message) -> dict[str, str]:
    """What a request sets, for its provenance: every field by name, as JSON."""
    fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
    unsaid = {"audio", "request_id", "engine", "validate_only", "commercial_only"}
    return {
        name: json.dumps(value, sort_keys=True)
        for name, value in sorted(fields.items())
        if name not in unsaid
    }
