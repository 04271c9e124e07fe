"""Following references: what a caller says, and what came of it."""

from chorale.mastering.v1 import (
    loudness_pb2,
    master_pb2,
    matching_pb2,
    presets_pb2,
    report_pb2,
    settings_pb2,
)

from chorale_mastering import messages
from chorale_mastering.following import MatchAspect, MatchSettings
from chorale_mastering.messages.reports import warning
from chorale_mastering.messages.settings import known, told
from chorale_mastering.orders import Heard
from chorale_mastering.plan import LoudnessMeasure, MasteringWishes
from chorale_mastering.report import CompressionLevel, MasterWarning

_DEFAULTS = MatchSettings()


class SettingUnsupported(Exception):
    """A value of a setting that no engine knows."""

    def __init__(self, setting: str, value: str, known: str) -> None:
        super().__init__(setting, value, known)
        self.setting, self.value, self.known = setting, value, known

    def __str__(self) -> str:
        return f"{self.setting} {self.value} is not known to any engine; {self.known} is."


def match_settings(message: matching_pb2.MatchSettings, wishes: MasteringWishes) -> MatchSettings:
    """How to follow; a target that the caller wishes for goes before the reference's.

    Raises `SettingUnsupported`.
    """
    domains = matching_pb2.SpectrumDomain
    if message.spectrum_domain == matching_pb2.SPECTRUM_DOMAIN_TIME:
        raise SettingUnsupported(
            "spectrum_domain",
            domains.Name(message.spectrum_domain),
            domains.Name(matching_pb2.SPECTRUM_DOMAIN_FREQUENCY),
        )
    ignored = {known(MatchAspect, matching_pb2.MatchAspect, number) for number in message.ignore}
    if wishes.target_loudness_lufs is not None:
        ignored.add(MatchAspect.LOUDNESS)
    amount = message.amount_percent if message.HasField("amount_percent") else 100.0
    clipped = message.clip_threshold if message.HasField("clip_threshold") else None
    epsilon = message.epsilon if message.HasField("epsilon") else None
    return MatchSettings(
        amount_percent=amount,
        ignore=tuple(aspect for aspect in ignored if aspect is not None),
        piece_seconds=_piece_seconds(message),
        whole_spectrum=message.whole_spectrum,
        fft_size=message.fft_size or _DEFAULTS.fft_size,
        smoothing_octaves=message.smoothing_octaves or _DEFAULTS.smoothing_octaves,
        smoothing_passes=message.smoothing_passes or _DEFAULTS.smoothing_passes,
        band_count=max(3, message.band_count) if message.band_count else _DEFAULTS.band_count,
        clip_threshold=_DEFAULTS.clip_threshold if clipped is None else clipped,
        epsilon=_DEFAULTS.epsilon if epsilon is None else epsilon,
        normalize_reference=message.normalize_reference,
    )


def measure(message: matching_pb2.MatchSettings) -> LoudnessMeasure | None:
    """What loudness is compared by; None where the request leaves it open."""
    return known(LoudnessMeasure, settings_pb2.LoudnessMeasure, message.loudness_measure)


def _piece_seconds(message: matching_pb2.MatchSettings) -> float:
    if message.piece_bars:  # the contract asks for tempo and time signature with it
        beats = message.piece_bars * int(message.time_signature.partition("/")[0])
        return min(60.0, max(1.0, beats * 60.0 / message.bpm))
    return max(1.0, message.piece_seconds) if message.piece_seconds else _DEFAULTS.piece_seconds


def loudness(heard: Heard) -> loudness_pb2.Loudness:
    """The loudness of what was inspected, with its spectrum."""
    message = messages.loudness(heard.loudness)
    message.spectrum_db.extend(heard.third_octaves_db)
    return message


def inspected(heard: Heard, usual: tuple[MasterWarning, ...]) -> master_pb2.InspectResponse:
    """What inspecting found."""
    curve = heard.loudness.curve
    level: CompressionLevel = heard.compression
    message = master_pb2.InspectResponse(
        loudness=loudness(heard),
        duration_seconds=heard.loudness.frame_count / heard.loudness.sample_rate_hz,
        spectral_centroid_hz=heard.centroid_hz,
        spectral_bandwidth_hz=heard.bandwidth_hz,
        spectral_rolloff_hz=heard.rolloff_hz,
        rms_dbfs=heard.rms_dbfs,
        zero_crossing_rate=heard.zero_crossing_rate,
        crest_factor_db=heard.crest_factor_db,
        compression_level=told(level, report_pb2.CompressionLevel),
        warnings=[warning(each) for each in (*heard.warnings, *usual)],
        reference_warnings=[warning(each) for each in heard.reference_warnings],
        curve=None if curve is None else messages.curve(curve),
        lowpass_hz=heard.lowpass_hz,
    )
    message.format.sample_rate_hz = heard.loudness.sample_rate_hz
    message.format.channel_count = heard.loudness.channel_count
    return message


def reference(name: str, title: str, audio: str, genre: str, heard: Heard) -> presets_pb2.Reference:
    """A reference as it is kept."""
    return presets_pb2.Reference(
        name=name,
        title=title,
        audio=audio,
        genre=genre,
        loudness=loudness(heard),
        warnings=[warning(each) for each in heard.reference_warnings],
    )
