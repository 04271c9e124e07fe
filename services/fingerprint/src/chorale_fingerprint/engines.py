"""The engines of this service: who does what, under which licence."""

from dataclasses import dataclass

from chorale_fingerprint.codes import REMEDY

AUTO = "auto"
IDENTIFY, CHROMAPRINT, SIMILAR = "identify", "chromaprint", "similar"
# Counts what of ours can change an answer: resampling, matching, scores.
REVISION = 2
# The engines of `IDENTIFY`: ours, and Chromaprint's codes alone.
LANDMARKS, CODES = "landmarks", "chromaprint"


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
    available: bool
    remedy: str
    devices: tuple[str, ...] = ("cpu",)
    is_default: bool = True


def engines(library_version: str | None) -> tuple[Engine, ...]:
    """Lists the engines of a machine with this Chromaprint library, or with none."""
    told = {
        IDENTIFY: "Knows copies again: Chromaprint's codes, compared bit by bit at every shift"
        " that an index of codes suggests.",
        CHROMAPRINT: "Writes the fingerprint that AcoustID takes.",
    }
    listening = tuple(
        Engine(
            name=CODES,
            capability=capability,
            version=f"{library_version}+{REVISION}" if library_version else "",
            code_licence="LGPL-2.1-or-later AND MIT AND Apache-2.0",
            description=description,
            available=library_version is not None,
            remedy="" if library_version else REMEDY,
            is_default=capability != IDENTIFY,
        )
        for capability, description in told.items()
    )
    return (_landmarks(library_version), *listening, _SIMILAR)


def _landmarks(library_version: str | None) -> Engine:
    # It writes Chromaprint's codes too: copies are told by both, and AcoustID takes no other.
    return Engine(
        name=LANDMARKS,
        capability=IDENTIFY,
        version=f"{REVISION}+{library_version}" if library_version else "",
        code_licence="Apache-2.0 AND LGPL-2.1-or-later AND MIT",
        description="Enrols recordings and knows them and excerpts of them again, through noise,"
        " codecs, telephones and changes of speed and pitch: figures of four spectral peaks; and"
        " Chromaprint's codes where those say nothing sure.",
        available=library_version is not None,
        remedy="" if library_version else REMEDY,
    )


_SIMILAR = Engine(
    name="cosine",
    capability=SIMILAR,
    version=str(REVISION),
    code_licence="PostgreSQL AND Apache-2.0",
    description="Finds patterns that are alike: the cosine of their weighed numbers, compared one"
    " by one among few, by pgvector's graph among many.",
    available=True,
    remedy="",
)


def choose(known: tuple[Engine, ...], capability: str, name: str) -> Engine:
    """The engine of this name; the default for an empty name and `auto`."""
    able = [engine for engine in known if engine.capability == capability]
    for engine in able:
        if engine.name == name or (name in ("", AUTO) and engine.is_default):
            return engine
    raise EngineUnknown(name, capability, ",".join(engine.name for engine in able))
