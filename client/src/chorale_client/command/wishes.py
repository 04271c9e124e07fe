"""What a master shall sound like, as options of a command and as the contract's messages."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from chorale.mastering.v1.outputs_pb2 import MasterOutput
    from chorale.mastering.v1.settings_pb2 import MasteringSettings

PROFILES = ("neutral", "bright", "warm", "bass-boost")
LIMITERS = ("transparent", "modern", "aggressive", "classic", "none")
CODECS = ("mp3", "aac", "opus")
FORMATS = ("wav16", "wav24", "wav32", "wav32f", "flac", "mp3-320", "mp3-v0")
DITHERS = ("none", "tpdf", "rpdf", "shaped")
MOST_OUTPUTS = 5


@dataclass(frozen=True)
class Wishes:
    """What was asked for; None is left to the preset and to the service."""

    lufs: float | None
    eq: str | None
    phase: str | None
    ratio: float | None
    bands: int | None
    width: float | None
    saturation: float | None
    ceiling: float | None
    limiter: str | None
    codecs: tuple[str, ...]

    @property
    def settings(self) -> "MasteringSettings":
        """As the contract says it."""
        from chorale.mastering.v1 import settings_pb2

        message = settings_pb2.MasteringSettings(
            target_loudness_lufs=self.lufs,
            stereo_width_percent=self.width,
            saturation_percent=self.saturation,
            eq_profile=_known("EQ_PROFILE", self.eq),
            eq_phase=_known("EQ_PHASE", self.phase),
            codecs=[{"codec": _known("CODEC", codec)} for codec in self.codecs],
        )
        if self.ratio is not None:
            message.compressor.ratio = self.ratio
        if self.bands is not None:
            message.compressor.band_count = self.bands
        if self.ceiling is not None:
            message.limiter.ceiling_dbtp = self.ceiling
        if self.limiter is not None:
            mode = _known("LIMITER_MODE", self.limiter)
            message.limiter.MergeFrom(settings_pb2.LimiterSettings(mode=mode))
        return message


@dataclass(frozen=True)
class Files:
    """What to make of a master, and where to put it."""

    formats: tuple[str, ...]
    rate: int
    dither: str | None
    out: Path | None
    report_file: Path | None

    @property
    def outputs(self) -> list["MasterOutput"]:
        """As the contract says it; each is labelled as its format."""
        from chorale.mastering.v1 import outputs_pb2

        formats = dict.fromkeys(self.formats)
        if len(formats) > MOST_OUTPUTS:
            raise click.UsageError(f"{len(formats)} formats; {MOST_OUTPUTS} can be made at once.")
        if len(formats) > 1 and self.out is not None and not self.out.is_dir():
            raise click.UsageError(f"{self.out} must be a folder: {len(formats)} files are made.")
        return [
            outputs_pb2.MasterOutput(
                label=format_,
                encoding=_known("MASTER_ENCODING", format_),
                sample_rate_hz=self.rate,
                dither=_known("DITHER", self.dither),
            )
            for format_ in formats
        ]


_WISHES = (
    click.option("--lufs", "--target", type=float, help="Integrated loudness. Default: -14."),
    click.option("--eq", "--profile", type=click.Choice(PROFILES), help="The curve. Neutral."),
    click.option("--phase", type=click.Choice(("minimum", "linear")), help="Of the equalizer."),
    click.option("--ratio", type=float, help="Of the compressor, 1 to 10. Default: 4."),
    click.option("--bands", type=int, help="To compress apart, 1 to 4. Default: 1."),
    click.option("--width", type=float, help="Of the stereo image, in percent. Default: 100."),
    click.option("--saturation", type=float, help="Harmonics, in percent. Default: 0."),
    click.option("--ceiling", type=float, help="What no true peak may pass. Default: -1 dBTP."),
    click.option("--limiter", type=click.Choice(LIMITERS), help="How it acts. Transparent."),
    click.option(
        "--codec",
        "codecs",
        multiple=True,
        type=click.Choice(CODECS),
        help="Keep peaks under the ceiling through it, too. May be repeated.",
    ),
)
_FILES = (
    click.option(
        "--format",
        "formats",
        multiple=True,
        default=("wav24",),
        show_default="wav24",
        type=click.Choice(FORMATS),
        help="Of the file; up to five, repeated.",
    ),
    click.option("--rate", type=int, default=0, help="Of the file, in Hz. Default: as it came."),
    click.option("--dither", type=click.Choice(DITHERS), help="Where bits are lost."),
    click.option(
        "-o", "--out", type=click.Path(path_type=Path), help="Write the master to a file or folder."
    ),
    click.option(
        "--report",
        "report_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write pictures, figures and two players as one HTML file.",
    ),
)


def options(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say how it shall sound, and passes them as `wishes`."""
    return _packed(function, _WISHES, "wishes", Wishes)


def file_options(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say what is written, and passes them as `files`."""
    return _packed(function, _FILES, "files", Files)


def _packed(
    function: Callable[..., None], added: tuple[Any, ...], name: str, kind: type[Any]
) -> Callable[..., None]:
    @functools.wraps(function)
    def call(*arguments: Any, **given: Any) -> None:
        own = {field.name: given.pop(field.name) for field in fields(kind)}
        function(*arguments, **{name: kind(**own)}, **given)

    for option in reversed(added):
        call = option(call)
    return call


def _known(prefix: str, word: str | None) -> Any:
    return None if word is None else f"{prefix}_{word.upper().replace('-', '_')}"
