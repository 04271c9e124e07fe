"""The engines of this service: who does what, under which licence."""

from dataclasses import dataclass

AUTO = "auto"
LOUDNESS = "loudness"
MASTERING = "mastering"


class EngineUnknown(Exception):
    """No engine of this name serves this call."""

    def __init__(self, engine: str, capability: str, known: str) -> None:
        super().__init__(engine, capability, known)
        self.engine, self.capability, self.known = engine, capability, known

    def __str__(self) -> str:
        return (
            f"No engine {self.engine!r} does {self.capability};"
            f" these do: {self.known.replace(',', ', ')}."
        )


@dataclass(frozen=True)
class Engine:
    """One way to do one capability."""

    name: str
    capability: str
    version: str
    code_licence: str
    description: str
    devices: tuple[str, ...] = ("cpu",)
    is_default: bool = True


ENGINES = (
    Engine(
        name="chorale",
        capability=LOUDNESS,
        version="2",
        code_licence="Apache-2.0",
        description=(
            "ITU-R BS.1770-5 and EBU R 128: gated loudness, loudness range, true peak by"
            " 4 x 24-tap interpolation."
        ),
    ),
    Engine(
        name="chorale",
        capability=MASTERING,
        version="1",
        code_licence="Apache-2.0",
        description=(
            "Filter, reference match, equalizer, compressor, saturation, width, loudness search"
            " over a true-peak limiter, dither, codec check."
        ),
    ),
)


def choose(capability: str, name: str) -> Engine:
    """The engine of this name; the default for an empty name and `auto`."""
    able = [engine for engine in ENGINES if engine.capability == capability]
    for engine in able:
        if engine.name == name or (name in ("", AUTO) and engine.is_default):
            return engine
    raise EngineUnknown(name, capability, ",".join(engine.name for engine in able))
