"""The call that masters sound while it comes."""

from collections.abc import AsyncIterator

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale.mastering.v1 import master_pb2
from chorale_runtime import caller
from chorale_runtime.calls import Context

from chorale_mastering import engines, messages
from chorale_mastering.brief import Format
from chorale_mastering.messages.settings import wishes
from chorale_mastering.plan import MasteringPlan, planned
from chorale_mastering.servicer.masters import said
from chorale_mastering.store.presets import Presets
from chorale_mastering.worker.live_masters import LiveMasters, Piece


class StreamCalls:
    """Part of MasteringService."""

    _presets: Presets
    _live_masters: LiveMasters

    async def MasterStream(
        self, requests: AsyncIterator[master_pb2.MasterStreamRequest], _: Context
    ) -> AsyncIterator[master_pb2.MasterStreamResponse]:
        """Masters sound while it comes; the first answer declares the latency."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("message") != "config":
            raise messages.StreamOutOfOrder("config in the first message")
        config = first.config
        engine = engines.choose(engines.MASTERING, config.engine)
        made_by = messages.provenance(config.engine, engine, said(config))
        sound = Format(config.format.sample_rate_hz, config.format.channel_count)
        revision = 0
        async with self._live_masters.open(await self._planned(config), sound) as live:
            async for request in requests:
                if request.WhichOneof("message") != "frames":
                    raise messages.StreamOutOfOrder("frames in every later message")
                piece, revision = await live.push(request.frames), revision + 1
                answer = _answer(piece, revision)
                if revision == 1:
                    _declare(answer, live.latency_frames, made_by)
                yield answer
            last = _answer(await live.finish(), revision + 1)
            last.is_final = True
            if revision:
                last.provenance.CopyFrom(made_by)
            else:
                _declare(last, live.latency_frames, made_by)
            yield last

    async def _planned(self, config: master_pb2.MasterStreamConfig) -> MasteringPlan:
        layers = [wishes(config.settings)]
        if config.preset:
            preset = await self._presets.find(caller.current().principal, config.preset)
            layers.append(wishes(preset.settings))
        return planned(*layers)


def _declare(
    answer: master_pb2.MasterStreamResponse, latency: int, made_by: engine_pb2.Provenance
) -> None:
    answer.latency_frames = latency
    answer.provenance.CopyFrom(made_by)


def _answer(piece: Piece, revision: int) -> master_pb2.MasterStreamResponse:
    return master_pb2.MasterStreamResponse(
        span=audio_pb2.FrameSpan(start_frame=piece.start_frame, frame_count=piece.frame_count),
        frames=piece.data,
        revision=revision,
        loudness=None if piece.loudness is None else messages.loudness(piece.loudness),
    )
