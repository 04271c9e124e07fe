"""The calls that start masters, and those that tell what one would take."""

from collections.abc import Mapping

from chorale.audio.v1 import audio_pb2
from chorale.mastering.v1 import master_pb2
from chorale_runtime.calls import Context
from chorale_runtime.operations import Operations, Work, done
from google.longrunning import operations_pb2

from chorale_mastering import engines, messages
from chorale_mastering.brief import Brief, Format, Output
from chorale_mastering.encodings import FileEncoding, resolution
from chorale_mastering.messages.settings import wishes
from chorale_mastering.orders import Order
from chorale_mastering.plan import planned
from chorale_mastering.servicer.costs import output_bytes, seconds_of
from chorale_mastering.servicer.masters import MASTER, Planner

_RATE_HZ, _CHANNEL_COUNT = 44100, 2  # where the request leaves its format out
_REFERENCE_SHARE = 0.2  # of a master of the same length


class MasterCalls:
    """Part of MasteringService."""

    _planner: Planner
    _operations: Operations
    _works: Mapping[str, Work]

    async def Master(
        self, request: master_pb2.MasterRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts a master, once all that can be known to be wrong was found right."""
        asked = await self._planner.mastering(request)
        if request.validate_only:
            return done(master_pb2.MasterResponse(estimate=asked.estimate, audio=request.audio))
        return await self._operations.start(
            self._works[MASTER], request, request_id=request.request_id, audio=[request.audio]
        )

    async def EstimateMastering(
        self, request: master_pb2.EstimateMasteringRequest, _: Context
    ) -> master_pb2.EstimateMasteringResponse:
        """Tells what a master would take, by its length alone."""
        engine = engines.choose(engines.MASTERING, request.engine)
        sound = Format(
            request.format.sample_rate_hz or _RATE_HZ,
            request.format.channel_count or _CHANNEL_COUNT,
        )
        encoding = FileEncoding.WAV24
        brief = Brief(
            plan=planned(wishes(request.settings)),
            sound=sound,
            frame_count=round(request.duration_seconds * sound.sample_rate_hz),
            output=Output(resolution(encoding, None)),
        )
        count = request.output_count or 1
        reference = request.reference_count * _REFERENCE_SHARE * seconds_of([brief])
        estimate = audio_pb2.Estimate(
            engine=engine.name,
            device="cpu",
            seconds=seconds_of([brief] * count) + reference,
            output_bytes=count * output_bytes(Order("", brief, encoding, "")),
        )
        told = {"duration_seconds": f"{request.duration_seconds:g}", "method": "by length"}
        return master_pb2.EstimateMasteringResponse(
            estimate=estimate, provenance=messages.provenance(request.engine, engine, told)
        )
