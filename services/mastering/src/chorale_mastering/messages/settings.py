"""Settings of a master: what a caller says, and what was in force."""

import enum
from dataclasses import fields
from typing import Any, TypeVar

from chorale.mastering.v1 import settings_pb2, stages_pb2

from chorale_mastering.plan import (
    Codec,
    CodecCheck,
    CompressorWishes,
    LimiterMode,
    LimiterWishes,
    LoudnessMeasure,
    MasteringPlan,
    MasteringWishes,
    Stage,
)
from chorale_mastering.tone import EqBand, EqPhase, EqProfile, EqShape

E = TypeVar("E", bound=enum.Enum)

_LEVELS = (
    "target_loudness_lufs",
    "stereo_width_percent",
    "mono_below_hz",
    "minimum_correlation",
    "saturation_percent",
    "rumble_hz",
    "input_gain_db",
    "clip_dbfs",
    "preserve_dynamics",
)
_COMPRESSOR_LEVELS = (
    "ratio",
    "threshold_dbfs",
    "attack_ms",
    "release_ms",
    "knee_db",
    "sidechain_highpass_hz",
    "mix_percent",
)
_LIMITER_LEVELS = ("ceiling_dbtp", "lookahead_ms", "release_ms")


def known(kind: type[E], named: Any, number: int) -> E | None:
    """The value of an enum of the contract; None for the unset one.

    Names are the same on both sides, behind the prefix that the contract's style asks for.
    """
    prefix = str(named.Name(0)).removesuffix("UNSPECIFIED")
    return None if number == 0 else kind[str(named.Name(number)).removeprefix(prefix)]


def told(value: enum.Enum, named: Any) -> Any:
    """The contract's number of a value."""
    prefix = str(named.Name(0)).removesuffix("UNSPECIFIED")
    return named.Value(prefix + value.name)


def wishes(message: settings_pb2.MasteringSettings) -> MasteringWishes:
    """What a caller wishes; what is not set is left open."""
    compressor, limiter = message.compressor, message.limiter
    return MasteringWishes(
        loudness_measure=known(
            LoudnessMeasure, settings_pb2.LoudnessMeasure, message.loudness_measure
        ),
        compressor=CompressorWishes(
            band_count=compressor.band_count or None, **_set(compressor, _COMPRESSOR_LEVELS)
        ),
        eq_profile=known(EqProfile, settings_pb2.EqProfile, message.eq_profile),
        eq_bands=tuple(_band(band) for band in message.eq_bands) or None,
        eq_phase=known(EqPhase, settings_pb2.EqPhase, message.eq_phase),
        limiter=LimiterWishes(
            mode=known(LimiterMode, settings_pb2.LimiterMode, limiter.mode),
            **_set(limiter, _LIMITER_LEVELS),
        ),
        bypass=tuple(_stage(number) for number in message.bypass) or None,
        codecs=tuple(_check(check) for check in message.codecs) or None,
        draft=message.draft or None,
        **_set(message, _LEVELS),
    )


def settings(plan: MasteringPlan) -> settings_pb2.MasteringSettings:
    """A plan, told as the settings in force; what the programme decides stays unset."""
    compression = {
        row.name: value
        for row in fields(plan.compression)
        if (value := getattr(plan.compression, row.name)) is not None
    }
    levels = {name: value for name in _LEVELS if (value := getattr(plan, name)) is not None}
    return settings_pb2.MasteringSettings(
        loudness_measure=told(plan.loudness_measure, settings_pb2.LoudnessMeasure),
        compressor=settings_pb2.CompressorSettings(**compression),
        eq_profile=told(plan.eq_profile, settings_pb2.EqProfile),
        eq_bands=[_told_band(band) for band in plan.eq_bands],
        eq_phase=told(plan.eq_phase, settings_pb2.EqPhase),
        limiter=settings_pb2.LimiterSettings(
            mode=told(plan.limiter_mode, settings_pb2.LimiterMode),
            ceiling_dbtp=plan.ceiling_dbtp,
            lookahead_ms=plan.lookahead_ms,
            release_ms=plan.limiter_release_ms,
        ),
        bypass=[told(stage, stages_pb2.MasterStage) for stage in plan.bypass],
        codecs=[check_of(check) for check in plan.codecs],
        draft=plan.draft,
        **levels,
    )


def wished(layer: MasteringWishes) -> settings_pb2.MasteringSettings:
    """Wishes as the contract says them; what is left open stays unset."""
    message = settings_pb2.MasteringSettings(
        eq_bands=[_told_band(band) for band in layer.eq_bands or ()],
        bypass=[told(stage, stages_pb2.MasterStage) for stage in layer.bypass or ()],
        codecs=[check_of(check) for check in layer.codecs or ()],
        draft=bool(layer.draft),
        **_said(layer, _LEVELS),
    )
    compressor = _said(layer.compressor, (*_COMPRESSOR_LEVELS, "band_count"))
    if compressor:
        message.compressor.CopyFrom(settings_pb2.CompressorSettings(**compressor))
    limiter = _said(layer.limiter, _LIMITER_LEVELS)
    if layer.limiter.mode is not None:
        limiter["mode"] = told(layer.limiter.mode, settings_pb2.LimiterMode)
    if limiter:
        message.limiter.CopyFrom(settings_pb2.LimiterSettings(**limiter))
    if layer.loudness_measure is not None:
        message.loudness_measure = told(layer.loudness_measure, settings_pb2.LoudnessMeasure)
    if layer.eq_profile is not None:
        message.eq_profile = told(layer.eq_profile, settings_pb2.EqProfile)
    if layer.eq_phase is not None:
        message.eq_phase = told(layer.eq_phase, settings_pb2.EqPhase)
    return message


def check_of(check: CodecCheck) -> stages_pb2.CodecCheck:
    """A codec check as the contract says it."""
    codec = told(check.codec, stages_pb2.Codec)
    return stages_pb2.CodecCheck(codec=codec, bitrate_kbps=check.bitrate_kbps)


def _set(message: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def _said(wishes: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(wishes, name)) is not None}


def _stage(number: int) -> Stage:
    stage = known(Stage, stages_pb2.MasterStage, number)
    assert stage is not None  # the contract refuses it
    return stage


def _check(message: stages_pb2.CodecCheck) -> CodecCheck:
    codec = known(Codec, stages_pb2.Codec, message.codec)
    assert codec is not None  # the contract refuses it
    return CodecCheck(codec, message.bitrate_kbps)


def _band(message: settings_pb2.EqBand) -> EqBand:
    shape = known(EqShape, settings_pb2.EqShape, message.shape)
    assert shape is not None  # the contract refuses it
    q = {"q": message.q} if message.HasField("q") else {}
    return EqBand(shape, message.frequency_hz, message.gain_db, **q)


def _told_band(band: EqBand) -> settings_pb2.EqBand:
    return settings_pb2.EqBand(
        shape=told(band.shape, settings_pb2.EqShape),
        frequency_hz=band.frequency_hz,
        gain_db=band.gain_db,
        q=band.q,
    )
