"""`chorale analyze`."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chorale_client.command import mastering, naming, sources
from chorale_client.command.session import Session, subcommand

if TYPE_CHECKING:
    from chorale.analysis.v1.timeline_pb2 import AnalyzeRequest, Timeline

    from chorale_client.sync import Chorale

FEATURES = ("beats", "chords", "key", "structure", "dynamics")
ENDINGS = {
    "midi": ".mid", "musicxml": ".musicxml", "lab": ".lab", "csv": ".csv", "jams": ".jams",
    "json": ".json",
}  # fmt: skip
PICTURES = ("timeline", "spectrogram", "chroma", "tempo", "self_similarity", "waveform")
_BARS_IN_A_ROW = 4


def _listed(known: tuple[str, ...]) -> Any:
    """A click callback for names with commas between."""

    def parse(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name for name in value.split(",") if name))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(known)}.")
        return names

    return parse


@subcommand("analyze")
@click.argument("sound", metavar="FILE|AUDIO")
@click.option(
    "--features",
    default=",".join(FEATURES),
    show_default=True,
    callback=_listed(FEATURES),
    help="What to find out, commas between.",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="[FEATURE=]NAME",
    help="Who listens, for one feature or for all, as `chorale engines` lists.",
)
@click.option("--commercial-only", is_flag=True, help="Only engines that allow commercial use.")
@click.option("--force", is_flag=True, help="Let an engine try sound longer than it takes.")
@click.option("--vocabulary", default="", help="Chord labels to choose from, such as majmin.")
@click.option(
    "--export",
    default="",
    callback=_listed(tuple(ENDINGS)),
    help="Files to write, commas between: " + ", ".join(ENDINGS) + ".",
)
@click.option(
    "--pictures",
    default="",
    callback=_listed(PICTURES),
    help="Pictures to draw, commas between: " + ", ".join(PICTURES) + ".",
)
@click.option("--svg", is_flag=True, help="Draw as SVG, not as PNG.")
@click.option("--dark", is_flag=True, help="Draw light on dark.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder to write them to.",
)
def command(
    session: Session,
    sound: str,
    features: tuple[str, ...],
    engines: tuple[str, ...],
    commercial_only: bool,
    force: bool,
    vocabulary: str,
    export: tuple[str, ...],
    pictures: tuple[str, ...],
    svg: bool,
    dark: bool,
    out: Path,
) -> None:
    """Find beats, chords, key, form and loudness of a sound. A file is stored first.

    \b
    chorale analyze song.mp3
    chorale analyze song.mp3 --features beats,chords --engine beats=madmom
    chorale analyze song.mp3 --export midi,lab,jams -o sheets/
    chorale analyze song.mp3 --pictures timeline,spectrogram --svg
    """
    from chorale.analysis.v1 import timeline_pb2

    with session.chorale() as chorale:
        audio = sources.stored(session, chorale, sound)
        request = timeline_pb2.AnalyzeRequest(
            audio=audio,
            features=[f"FEATURE_{name.upper()}" for name in features],
            commercial_only=commercial_only,
            force=force,
            request_id=str(uuid.uuid4()),
        )
        request.chords.vocabulary = vocabulary
        _choose(request, engines)
        operation = chorale.start(chorale.analysis.Analyze, request, timeline_pb2.AnalyzeResponse)
        answer = mastering.finished(session, operation, "listening")
        name = Path(sound).stem if Path(sound).is_file() else naming.short(audio, True)
        written = _exported(chorale, operation.name, export, out, name)
        for kind in pictures:
            drawn = timeline_pb2.RenderPictureRequest(
                audio=audio,
                kind=f"PICTURE_KIND_{kind.upper()}",
                format="PICTURE_FORMAT_SVG" if svg else "PICTURE_FORMAT_PNG",
                operation=operation.name if kind in ("timeline", "tempo") else "",
                dark=dark,
            )
            path = _place(out, name, f".{kind}.{'svg' if svg else 'png'}")
            path.write_bytes(b"".join(p.data for p in chorale.analysis.RenderPicture(drawn)))
            written.append(path)
    if session.as_json:
        session.say(answer)
        return
    _tell(session, answer.timeline)
    for path in written:
        click.echo(str(path))


def _choose(request: "AnalyzeRequest", engines: tuple[str, ...]) -> None:
    """Puts the engines asked for into the request."""
    for engine in engines:
        feature, is_one, name = engine.rpartition("=")
        if not is_one:
            request.engine = name
        elif feature in FEATURES:
            request.engines.add(feature=f"FEATURE_{feature.upper()}", engine=name)
        else:
            raise click.UsageError(f"{feature!r} is no feature: {', '.join(FEATURES)} are.")


def _exported(
    chorale: "Chorale",
    operation: str,
    export: tuple[str, ...],
    out: Path,
    name: str,
) -> list[Path]:
    """Writes the files asked for."""
    from chorale.analysis.v1 import timeline_pb2

    written = []
    for form in export:
        request = timeline_pb2.ExportTimelineRequest(
            operation=operation, format=f"TIMELINE_FORMAT_{form.upper()}"
        )
        parts = list(chorale.analysis.ExportTimeline(request))
        zipped = parts[0].content_type == "application/zip"  # a file for each feature
        path = _place(out, name, ENDINGS[form] + (".zip" if zipped else ""))
        path.write_bytes(b"".join(part.data for part in parts))
        written.append(path)
    return written


def _place(out: Path, name: str, ending: str) -> Path:
    """Where a file goes; its folder is there then."""
    out.mkdir(parents=True, exist_ok=True)
    return out / (name.replace("/", "-") + ending)


def _tell(session: Session, line: "Timeline") -> None:
    """What was found, for people: figures, sections, and the chords bar by bar."""
    rows: list[tuple[str, ...]] = []
    if line.HasField("beats"):
        rows.append(("tempo", f"{line.beats.bpm:.1f} BPM" if line.beats.bpm else "none",
                     f"{line.beats.bpm_confidence:.2f}"))  # fmt: skip
        meter = line.beats.time_signature or "not known"
        rows.append(("meter", meter, f"{line.beats.meter_confidence:.2f}"))
    if line.HasField("key"):
        rows.append(("key", line.key.key or "none", f"{line.key.confidence:.2f}"))
    if line.HasField("chords"):
        figures = line.chords.statistics
        rows.append(("chords", f"{figures.chord_count}, {figures.distinct_count} different", ""))
    if line.HasField("dynamics"):
        loudness = line.dynamics
        span = f"{loudness.integrated_lufs:.1f} LUFS, range {loudness.loudness_range_lu:.1f} LU"
        rows.append(("loudness", span, ""))
    session.table(("what", "found", "how sure"), rows)
    if line.structure.sections:
        session.table(("from", "to", "section", "group"), [_section(s) for s in
                                                           line.structure.sections])  # fmt: skip
    if line.bars and line.HasField("chords"):
        session.table(("bar", "at", "chords"), _bars(line))
    elif line.HasField("chords"):
        session.table(
            ("at", "chord", "numeral", "how sure"),
            [
                (naming.clock(c.start_seconds), c.label, c.roman_numeral, f"{c.confidence:.2f}")
                for c in line.chords.chords
            ],
        )


def _section(section: Any) -> tuple[str, ...]:
    from chorale.audio.v1.audio_pb2 import SectionLabel

    label = SectionLabel.Name(section.label).removeprefix("SECTION_LABEL_").lower()
    return (
        naming.clock(section.start_seconds),
        naming.clock(section.end_seconds),
        "" if label == "unspecified" else label,
        str(section.group),
    )


def _bars(line: "Timeline") -> list[tuple[str, ...]]:
    """Rows of bars: a chord where it changes, a dot where it stays."""
    rows: list[tuple[str, ...]] = []
    for first in range(0, len(line.bars), _BARS_IN_A_ROW):
        row = line.bars[first : first + _BARS_IN_A_ROW]
        text = " | ".join(" ".join(_changes(bar.chords)) for bar in row)
        seconds = row[0].span.start_frame / (line.sample_rate_hz or 1)
        rows.append((str(row[0].number), naming.clock(seconds), f"| {text} |"))
    return rows


def _changes(chords: Any) -> list[str]:
    return [
        chord if not place or chord != chords[place - 1] else "."
        for place, chord in enumerate(chords)
    ]
