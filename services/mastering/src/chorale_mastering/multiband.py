"""Compressing bands apart, and putting them together again."""

from collections.abc import Sequence

from chorale_mastering import biquad
from chorale_mastering.biquad import BUTTERWORTH_Q, Cascade
from chorale_mastering.block import Samples
from chorale_mastering.compressor import Compressor
from chorale_mastering.dynamics import Compression, Levels, found
from chorale_mastering.reductions import Reductions

# Where bands part, by their number.
CROSSOVERS_HZ = {1: (), 2: (200.0,), 3: (150.0, 3000.0), 4: (120.0, 800.0, 5000.0)}


class Crossover:
    """Parts sound into bands whose sum has the magnitude of the whole.

    Linkwitz-Riley of 24 dB per octave: two Butterworth sections a side; low and high add up to
    an all-pass (Linkwitz, JAES 24(1), 1976). Bands already parted run through the all-passes of
    the crossovers above, so that all keep in step.
    """

    def __init__(self, sample_rate_hz: int, channel_count: int, band_count: int) -> None:
        corners = [f for f in CROSSOVERS_HZ[band_count] if f < 0.45 * sample_rate_hz]
        self.band_count = len(corners) + 1
        self._lows, self._highs, self._alls = [], [], []
        for number, hertz in enumerate(corners):
            low = biquad.low_pass(hertz, BUTTERWORTH_Q, sample_rate_hz)
            high = biquad.high_pass(hertz, BUTTERWORTH_Q, sample_rate_hz)
            turn = biquad.all_pass(hertz, BUTTERWORTH_Q, sample_rate_hz)
            self._lows.append(Cascade((low, low), channel_count))
            self._highs.append(Cascade((high, high), channel_count))
            self._alls.append([Cascade((turn,), channel_count) for _ in range(number)])

    def process(self, block: Samples) -> list[Samples]:
        """The next frames of every band, lowest first."""
        bands: list[Samples] = []
        for low, high, alls in zip(self._lows, self._highs, self._alls, strict=True):
            bands = [turn.process(band) for turn, band in zip(alls, bands, strict=True)]
            bands.append(low.process(block))
            block = high.process(block)
        return [*bands, block]


class MultibandCompressor:
    """A compressor per band, each with its own threshold."""

    def __init__(
        self,
        sample_rate_hz: int,
        channel_count: int,
        compression: Compression,
        levels: Sequence[Levels] = (),
    ) -> None:
        self._crossover = Crossover(sample_rate_hz, channel_count, compression.band_count)
        count = self._crossover.band_count
        settings = [found(compression, band) for band in levels] or [compression] * count
        self._compressors = [Compressor(sample_rate_hz, channel_count, row) for row in settings]

    @property
    def latency_frames(self) -> int:
        """That of one band: all are the same."""
        return self._compressors[0].latency_frames

    @property
    def reductions(self) -> Reductions:
        """Those of the band that was turned down most."""
        rows: list[Reductions] = [row.reductions for row in self._compressors]
        return max(rows, key=lambda row: row.greatest_db)

    def process(self, block: Samples) -> Samples:
        """Compresses the next frames."""
        bands = self._crossover.process(block)
        pairs = zip(self._compressors, bands, strict=True)
        return _sum_of([stage.process(band) for stage, band in pairs])

    def flush(self) -> Samples:
        """The rest."""
        return _sum_of([stage.flush() for stage in self._compressors])


def bands_of(crossover: Crossover | None, block: Samples) -> list[Samples]:
    """The bands of a block; the block itself where nothing parts it."""
    return [block] if crossover is None else crossover.process(block)


def _sum_of(bands: Sequence[Samples]) -> Samples:
    total = bands[0].copy()
    for band in bands[1:]:
        total += band
    return total
