"""Between messages about the codec and cascade and the values that those know."""

from collections.abc import Sequence
from dataclasses import dataclass

from chorale.generation.v1 import outputs_pb2, tracks_pb2
from chorale_audio.source import Source

from chorale_generation.cascade.asked import BANDWIDTHS_KBPS, CascadeWishes, Masks, joined
from chorale_generation.messages.tracks import DEFAULT_RATE_HZ, LOUDNESS_TOLERANCE_LU, pcm_format
from chorale_generation.mosaic.asked import Output
from chorale_generation.mosaic.heard import Heard, Outcome
from chorale_generation.refusals import SettingUnsupported
from chorale_generation.worker import LaidCascade, MadeCascade

Heards = tuple[Heard, Heard]
_ENDED_SECONDS = 0.5
_ALL, _NOTHING = 0.95, 0.05  # means of masks that let through all there is, or nothing


@dataclass(frozen=True)
class Made:
    """What came of all windows."""

    device: str
    concessions: tuple[str, ...]
    masks: Masks
    notches_hz: tuple[float, ...]
    correlations: tuple[float, float]

    @staticmethod
    def of(found: Sequence[tuple[MadeCascade, LaidCascade]]) -> "Made":
        """What windows tell, as one: means of figures, and all that gave or was taken out."""
        made, laid = zip(*found, strict=True)
        one, other = (sum(each.correlations[at] for each in laid) / len(laid) for at in (0, 1))
        return Made(
            device=made[-1].rung.device,
            concessions=tuple(dict.fromkeys(each for one_ in made for each in one_.concessions)),
            masks=joined([each.masks for each in made]),
            notches_hz=tuple(sorted({round(hz) for each in laid for hz in each.notches_hz})),
            correlations=(one, other),
        )


def wishes(message: tracks_pb2.CascadeSettings) -> CascadeWishes:
    """What is asked of the cascade; raises `SettingUnsupported`."""
    bandwidth = message.bandwidth_kbps or 6.0
    if bandwidth not in BANDWIDTHS_KBPS:
        known = ", ".join(f"{each:g}" for each in BANDWIDTHS_KBPS)
        raise SettingUnsupported("cascade.bandwidth_kbps", f"{bandwidth:g}", known)
    is_told = message.HasField("complementary_masks")
    return CascadeWishes(
        stage_count=message.stage_count,
        bandwidth_kbps=bandwidth,
        overlap=message.overlap if message.HasField("overlap") else 0.25,
        match_level=not message.HasField("match_level") or message.match_level,
        notch_outliers=not message.HasField("notch_outliers") or message.notch_outliers,
        complementary_masks=message.complementary_masks if is_told else None,
    )


def require_rate(message: outputs_pb2.OutputSettings) -> None:
    """Raises `SettingUnsupported` for a rate that is not the codec's."""
    if message.sample_rate_hz not in (0, DEFAULT_RATE_HZ):
        raise SettingUnsupported("output.sample_rate_hz", str(message.sample_rate_hz), "24000")


def said(
    wished: CascadeWishes,
    made: Output,
    seed: int,
    lufs: float | None,
    durations_seconds: tuple[float, float],
) -> dict[str, str]:
    """Every setting as it is in force."""
    mutual = wished.complementary_masks
    told = {f"track_{at}.duration_seconds": f"{s:g}" for at, s in enumerate(durations_seconds, 1)}
    return told | {
        "seed": str(seed),
        "cascade.stage_count": str(wished.stage_count or "all"),
        "cascade.bandwidth_kbps": f"{wished.bandwidth_kbps:g}",
        "cascade.overlap": f"{wished.overlap:g}",
        "cascade.match_level": str(wished.match_level).lower(),
        "cascade.notch_outliers": str(wished.notch_outliers).lower(),
        "cascade.complementary_masks": "as trained" if mutual is None else str(mutual).lower(),
        "output.duration_seconds": f"{made.frame_count / made.sample_rate_hz:g}",
        "output.channel_count": str(made.channel_count),
        "output.loudness_lufs": "as made" if lufs is None else f"{lufs:g}",
        "output.bit_depth": str(made.bit_depth),
    }


def found(made: Made, heard: Heards | None) -> dict[str, str]:
    """What was taken out, and what was heard in both tracks."""
    told = {"result.notches_hz": " ".join(f"{each:.0f}" for each in made.notches_hz)}
    for number, track in enumerate(heard or (), 1):
        told[f"track_{number}.bpm"] = f"{track.bpm:.2f}"
        told[f"track_{number}.key"] = track.key
    return told


def generation(
    audio: str, url: str, output: Output, seed: int, made: Made, judged: outputs_pb2.Adherence
) -> outputs_pb2.Generation:
    """The new audio, described."""
    return outputs_pb2.Generation(
        audio=audio,
        url=url,
        seed=seed,
        format=pcm_format(output),
        frame_count=output.frame_count,
        adherence=judged,
        concessions=made.concessions,
    )


def adherence(
    outcome: Outcome | None, lufs: float | None, problems: Sequence[str]
) -> outputs_pb2.Adherence:
    """What is heard. No tempo and no key was asked for, so that nothing of them can be off."""
    message = outputs_pb2.Adherence(warnings=[problem for problem in problems if problem])
    if outcome is None:
        return message
    message.found_bpm, message.found_key = outcome.heard.bpm, outcome.heard.key
    message.integrated_lufs = outcome.integrated_lufs
    message.true_peak_dbtp = outcome.true_peak_dbtp
    message.passed = True
    if lufs is not None and abs(outcome.integrated_lufs - lufs) > LOUDNESS_TOLERANCE_LU:
        message.warnings.append(
            f"It is {outcome.integrated_lufs:.1f} LUFS loud; {lufs:.1f} was wanted."
        )
    return message


def ended(output: Output, sources: Sequence[Source]) -> str:
    """What is wrong where both tracks end before the result; nothing where one lasts."""
    last = max(source.duration_seconds for source in sources)
    if last >= output.frame_count / output.sample_rate_hz - _ENDED_SECONDS:
        return ""
    return f"Both tracks have ended after {last:.1f} s: what comes then is made of silence."


def rhythm(made: Made, heard: Heards | None, outcome: Outcome | None) -> tracks_pb2.RhythmTransfer:
    """How much of both tracks' rhythm is in the result: the smaller share beside the greater."""
    shares = [max(0.0, each) for each in made.correlations]
    total = sum(shares)
    message = tracks_pb2.RhythmTransfer(
        track_1_correlation=made.correlations[0],
        track_2_correlation=made.correlations[1],
        balance=2.0 * min(shares) / total if total > 0.0 else 0.0,
    )
    beats = outcome.heard.beats_seconds if outcome else ()
    if beats and heard is not None:
        last = outcome.heard.duration_seconds if outcome else 0.0
        theirs = [at for track in heard for at in track.beats_seconds if at < last]
        worst = max((min(abs(at - beat) for beat in beats) for at in theirs), default=0.0)
        message.worst_beat_error_ms = 1000.0 * worst
    return message


def masks(made: Made) -> tracks_pb2.MaskStatistics:
    """What the masks were; a model without any lets all of both tracks through."""
    told = made.masks
    message = tracks_pb2.MaskStatistics(
        track_1_mean=told.track_1,
        track_2_mean=told.track_2,
        complementarity=told.complementarity,
    )
    for number, mean in enumerate((told.track_1, told.track_2), 1):
        if mean > _ALL:
            message.warnings.append(f"Track {number} is masked nowhere.")
        elif mean < _NOTHING:
            message.warnings.append(f"Track {number} is masked almost everywhere.")
    return message
