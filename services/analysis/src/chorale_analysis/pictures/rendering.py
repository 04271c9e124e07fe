"""Pictures in a process of the pool: reading, seeing, drawing."""

from chorale_audio.source import Source

from chorale_analysis.pictures.order import Order, Score


def of_source(source: Source, wanted: Order) -> bytes:
    """Reads the source from object storage and draws it."""
    from chorale_audio.shaping import Shaper

    from chorale_analysis.pictures.drawing import of_sound
    from chorale_analysis.pictures.hearing import Watcher

    frames = round(source.duration_seconds * Watcher.rate_hz)
    watcher = Watcher(wanted.kind, wanted.width, frames)
    shaper = Shaper(source, Watcher.rate_hz, mono=True)
    for block in source.blocks():
        watcher.push(shaper.push(block)[:, 0])
    watcher.push(shaper.finish()[:, 0])
    start = source.start_frame / source.sample_rate_hz
    return of_sound(wanted, watcher.find(), start, start + source.duration_seconds)


def of_findings(wanted: Order, score: Score) -> bytes:
    """Draws what was found."""
    from chorale_analysis.pictures.drawing import of_score

    return of_score(wanted, score)
