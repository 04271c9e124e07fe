"""From requests to orders: which files to make, and how."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePath

from chorale.audio.v1 import audio_pb2
from chorale.mastering.v1 import outputs_pb2, presets_pb2, settings_pb2
from chorale_audio.failures import SpanPastEnd
from chorale_audio.source import Source

from chorale_mastering import encodings
from chorale_mastering.brief import Brief, Format, Output
from chorale_mastering.encodings import FileEncoding
from chorale_mastering.messages.settings import known, wishes
from chorale_mastering.orders import Order, Usual
from chorale_mastering.plan import planned
from chorale_mastering.resolution import Dither

_NAME_CHARACTERS = 200  # of 255: the rest is for what is added


@dataclass(frozen=True)
class Asked:
    """What a request says of all its outputs."""

    settings: settings_pb2.MasteringSettings
    preset: presets_pb2.Preset | None = None
    preview: audio_pb2.FrameSpan | None = None
    curve_points: int = 0


def orders(
    asked: Asked, outputs: Iterable[outputs_pb2.MasterOutput], source: Source, file_name: str
) -> tuple[Order, ...]:
    """One order per output, or one without any.

    Raises `SpanPastEnd`, `EncodingUnfit` and `CodecMissing`.
    """
    preview = asked.preview or audio_pb2.FrameSpan()
    if preview.start_frame >= source.frame_count:
        raise SpanPastEnd(preview.start_frame, source.frame_count)
    brief = Brief(
        plan=planned(),
        sound=Format(source.sample_rate_hz, source.channel_count),
        frame_count=source.frame_count,
        preview_start_frame=preview.start_frame,
        preview_frame_count=preview.frame_count,
        curve_points=asked.curve_points,
    )
    wanted = tuple(outputs) or (outputs_pb2.MasterOutput(),)
    return tuple(_order(asked, output, brief, file_name) for output in wanted)


def _order(asked: Asked, output: outputs_pb2.MasterOutput, brief: Brief, file_name: str) -> Order:
    layers, preset = [wishes(output.overrides), wishes(asked.settings)], asked.preset
    for check in planned(*layers).codecs:
        encodings.require_codec(check.codec)
    if preset is not None:
        layers.append(wishes(preset.settings))
    plan = planned(*layers)
    missing = tuple(check.codec for check in plan.codecs if encodings.is_missing(check.codec))
    checks = tuple(check for check in plan.codecs if check.codec not in missing)
    encoding = known(FileEncoding, outputs_pb2.MasterEncoding, output.encoding)
    encoding = encoding or FileEncoding.WAV24
    dither = known(Dither, outputs_pb2.Dither, output.dither)
    sound = brief.sound
    written = Output(
        encodings.resolution(encoding, dither),
        encodings.fitting_rate_hz(encoding, output.sample_rate_hz, sound.sample_rate_hz),
        output.channel_count or sound.channel_count,
    )
    encodings.require_channels(encoding, written.channel_count)
    stem = PurePath(file_name).stem[:_NAME_CHARACTERS] or "audio"
    return Order(
        label=output.label or "master",
        brief=replace(brief, plan=replace(plan, codecs=checks), output=written),
        encoding=encoding,
        file_name=output.file_name or f"{stem}_mastered.{encodings.suffix(encoding)}",
        usual=None if preset is None else _usual(preset),
        unchecked=missing,
    )


def _usual(preset: presets_pb2.Preset) -> Usual:
    title = preset.title or preset.name
    return Usual(title, preset.loudness_low_lufs, preset.loudness_high_lufs)
