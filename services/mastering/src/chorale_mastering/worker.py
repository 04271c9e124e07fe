"""Music off the event loop: what runs in the process pool."""

from collections.abc import Callable

from chorale_audio.source import Source

from chorale_mastering.loudness import Loudness

# What every process imports before its first work: the kernels, and with them numba.
PRELOAD = ("chorale_mastering.meter",)


def measure_loudness(
    source: Source,
    weights: tuple[float, ...],
    curve_points: int,
    *,
    progress: Callable[[str, float], None],
) -> Loudness:
    """Reads the source from object storage and measures it, in a process of the pool."""
    # Not at the top: the service's own process names this function and must not pay for numba.
    from chorale_mastering.measuring import measure
    from chorale_mastering.meter import Meter

    progress("reading", 0.0)
    meter = Meter(source.sample_rate_hz, source.channel_count, weights, curve_points)
    return measure(
        source.blocks(), meter, source.frame_count, lambda share: progress("measuring", share)
    )
