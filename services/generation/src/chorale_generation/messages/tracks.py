"""Between messages about two tracks and the values that the mosaic knows."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chorale.audio.v1 import audio_pb2
from chorale.engines.v1 import engine_pb2
from chorale.generation.v1 import outputs_pb2, tracks_pb2

from chorale_generation.engines import AUTO, Engine
from chorale_generation.mosaic.asked import Output, Wishes
from chorale_generation.mosaic.heard import Heard, Outcome
from chorale_generation.mosaic.keys import compatible
from chorale_generation.refusals import SettingUnsupported

if TYPE_CHECKING:
    from chorale_generation.mosaic.arrangement import Arrangement
    from chorale_generation.mosaic.transfer import Transfer

DEFAULT_SECONDS, DEFAULT_RATE_HZ, DEFAULT_LUFS = 16.0, 24000, -14.0
_TEMPO_TOLERANCE, LOUDNESS_TOLERANCE_LU = 0.02, 0.5
_BPM = (40.0, 400.0)
_CROSSFADE_MS = (1.0, 500.0)
_DEFAULT_SECTION_BARS, _DEFAULT_INFLUENCE = 4, 0.5


def wishes(message: tracks_pb2.MosaicSettings) -> Wishes:
    """What is asked of a mosaic; raises `SettingUnsupported`."""
    _require("mosaic.bpm", message.bpm, _BPM)
    _require("mosaic.crossfade_ms", message.crossfade_ms, _CROSSFADE_MS)
    return Wishes(
        influence=message.influence if message.HasField("influence") else _DEFAULT_INFLUENCE,
        rhythm_track=message.rhythm_track,
        bpm=message.bpm,
        key=message.key,
        crossfade_seconds=message.crossfade_ms / 1000.0,
        section_bars=message.section_bars or _DEFAULT_SECTION_BARS,
    )


def output(message: outputs_pb2.OutputSettings) -> Output:
    """How to write what is made; raises `SettingUnsupported`."""
    _require("output.duration_seconds", message.duration_seconds, (1.0, 600.0))
    if message.watermark:
        raise SettingUnsupported("output.watermark", "true", "false")
    rate_hz = message.sample_rate_hz or DEFAULT_RATE_HZ
    return Output(
        sample_rate_hz=rate_hz,
        channel_count=message.channel_count or 1,
        frame_count=round((message.duration_seconds or DEFAULT_SECONDS) * rate_hz),
        loudness_lufs=message.loudness_lufs if message.HasField("loudness_lufs") else DEFAULT_LUFS,
        bit_depth=message.bit_depth or 16,
    )


def said(wished: Wishes, made: Output, seed: int) -> dict[str, str]:
    """Every setting as it is in force."""
    return {
        "seed": str(seed),
        "mosaic.influence": f"{wished.influence:g}",
        "mosaic.rhythm_track": str(wished.rhythm_track),
        "mosaic.bpm": f"{wished.bpm:g}",
        "mosaic.key": wished.key,
        "mosaic.crossfade_ms": f"{1000.0 * wished.crossfade_seconds:g}",
        "mosaic.section_bars": str(wished.section_bars),
        "output.duration_seconds": f"{made.frame_count / made.sample_rate_hz:g}",
        "output.sample_rate_hz": str(made.sample_rate_hz),
        "output.channel_count": str(made.channel_count),
        "output.loudness_lufs": f"{made.loudness_lufs:g}",
        "output.bit_depth": str(made.bit_depth),
    }


def chosen(heard: tuple[Heard, Heard], arrangement: "Arrangement") -> dict[str, str]:
    """What was heard in both tracks, and what was made of it."""
    told = {}
    for number, track in enumerate(heard, 1):
        told[f"track_{number}.bpm"] = f"{track.bpm:.2f}"
        told[f"track_{number}.key"] = track.key
        told[f"track_{number}.duration_seconds"] = f"{track.duration_seconds:g}"
        shift = arrangement.shifts.semitones[number - 1]
        told[f"track_{number}.shift_semitones"] = str(shift)
    return told | {
        "result.bpm": f"{arrangement.bpm:.2f}",
        "result.key": arrangement.shifts.key,
        "result.rhythm_track": str(arrangement.rhythm_track),
        "result.section_count": str(len(arrangement.sections)),
        "result.warnings": " ".join(arrangement.warnings),
    }


def adherence(
    arrangement: "Arrangement", outcome: Outcome | None, made: Output, problem: str
) -> outputs_pb2.Adherence:
    """How well the result does what was meant, and what is off."""
    message = outputs_pb2.Adherence(
        wanted_bpm=arrangement.bpm, wanted_key=arrangement.shifts.key, warnings=arrangement.warnings
    )
    if outcome is None:
        message.warnings.append(problem or "The result is too short to be listened to.")
        return message
    heard = outcome.heard
    message.found_bpm, message.found_key = heard.bpm, heard.key
    message.integrated_lufs = outcome.integrated_lufs
    message.true_peak_dbtp = outcome.true_peak_dbtp
    off = _off(message)
    if abs(outcome.integrated_lufs - made.loudness_lufs) > LOUDNESS_TOLERANCE_LU:
        message.warnings.append(
            f"It is {outcome.integrated_lufs:.1f} LUFS loud; {made.loudness_lufs:.1f} was wanted."
        )
    message.warnings.extend(off)
    message.passed = not off
    return message


def _off(message: outputs_pb2.Adherence) -> list[str]:
    """What is wrong with tempo and key, in sentences."""
    found = []
    ratio = message.found_bpm / message.wanted_bpm
    octave = 2.0 ** round(math.log2(ratio)) if ratio > 0.0 else 1.0
    if abs(ratio / octave - 1.0) > _TEMPO_TOLERANCE:
        found.append(
            f"A tempo of {message.found_bpm:.1f} is heard; {message.wanted_bpm:.1f} was meant."
        )
    if message.wanted_key and message.found_key:
        if not compatible(message.wanted_key, message.found_key):
            found.append(f"{message.found_key} is heard; {message.wanted_key} was meant.")
    elif message.wanted_key:
        found.append("No key is heard.")
    return found


def rhythm(
    arrangement: "Arrangement", outcome: Outcome | None, transfers: "Sequence[Transfer]"
) -> tracks_pb2.RhythmTransfer:
    """How much of both tracks is in the result."""
    count = max(1, len(transfers))
    one, other = (sum(each.correlations[i] for each in transfers) / count for i in (0, 1))
    message = tracks_pb2.RhythmTransfer(
        track_1_correlation=one,
        track_2_correlation=other,
        balance=sum(each.balance for each in transfers) / count,
    )
    beats = outcome.heard.beats_seconds if outcome else ()
    if beats:
        message.worst_beat_error_ms = 1000.0 * _worst(arrangement, beats)
    return message


def _worst(arrangement: "Arrangement", beats: Sequence[float]) -> float:
    """The greatest distance of a beat that is heard from the beats that were meant.

    Beats of both tracks lie on the same grid. A result that is heard in another octave of its
    tempo is held against every half of a beat.
    """
    step = 60.0 / arrangement.bpm
    pace = (beats[-1] - beats[0]) / max(1, len(beats) - 1)
    if pace < 0.75 * step:
        step /= 2.0
    return max(abs(beat - step * round(beat / step)) for beat in beats)


def provenance(
    requested: str, used: Engine, settings: Mapping[str, str], seconds: float = 0.0
) -> engine_pb2.Provenance:
    """What made an answer."""
    message = engine_pb2.Provenance(
        engine_requested=requested or AUTO,
        engine_used=used.name,
        engine_version=used.version,
        settings=settings,
        device="cpu",
    )
    message.processing_time.FromMilliseconds(round(seconds * 1000))
    return message


def pcm_format(made: Output) -> audio_pb2.PcmFormat:
    """The format of the frames."""
    return audio_pb2.PcmFormat(sample_rate_hz=made.sample_rate_hz, channel_count=made.channel_count)


def _require(setting: str, value: float, bounds: tuple[float, float]) -> None:
    """Of a value that is set, that it lies within bounds."""
    low, high = bounds
    if value and not low <= value <= high:
        raise SettingUnsupported(setting, f"{value:g}", f"0 or {low:g} to {high:g}")
