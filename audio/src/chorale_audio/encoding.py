"""How canonical PCM writes a sample."""

import enum


class Encoding(enum.Enum):
    """How canonical PCM writes a sample."""

    S16LE = 2
    F32LE = 4

    @property
    def sample_bytes(self) -> int:
        """Bytes per sample."""
        return self.value
