"""The engines of this service: who does what, under which licences, with which weights.

Those that this build cannot run are listed, so that callers can see what is to come and under
which licences, and refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

AUTO = "auto"
TWO_TRACKS, PROMPT, VOCALS, EXPLAIN = "two_tracks", "prompt", "vocals", "explain"

NONCOMMERCIAL = "CC-BY-NC-4.0"
UNSTATED = "LicenseRef-Unstated"  # counts as not free for commerce

CASCADE = "encodec-cascade"

REMEDY = "None yet: this build cannot run it."


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


class EngineNoncommercial(Exception):
    """The engine's licences forbid commercial use, and only what allows it was wanted."""

    def __init__(self, engine: str, licence: str) -> None:
        super().__init__(engine, licence)
        self.engine, self.licence = engine, licence

    def __str__(self) -> str:
        return f"The engine {self.engine} is under {self.licence}, which forbids commercial use."


@dataclass(frozen=True)
class Weights:
    """A model that an engine needs."""

    model: str  # `models/{model}`
    licence: str


@dataclass(frozen=True)
class Engine:
    """One way to do one capability."""

    name: str
    capability: str
    version: str
    code_licence: str
    description: str
    weights: tuple[Weights, ...] = ()
    devices: tuple[str, ...] = ("cpu", "cuda")
    is_default: bool = False
    is_available: bool = False  # whether this build can run it, given its weights
    remedy: str = ""  # where weights are missing

    @property
    def noncommercial_licence(self) -> str:
        """The first of its licences that forbids commercial use; empty when all allow it."""
        licences = (self.code_licence, *(weights.licence for weights in self.weights))
        forbidding = (NONCOMMERCIAL, UNSTATED)
        return next((each for each in licences if any(one in each for one in forbidding)), "")


def _musicgen(size: str, parameters: str, is_default: bool = False) -> Engine:
    name = f"musicgen-{size}"
    return Engine(
        name=name,
        capability=PROMPT,
        version="1",
        code_licence="Apache-2.0",
        description=f"MusicGen, {parameters}: music from a prompt, 32 kHz.",
        weights=(Weights(f"models/{name}", NONCOMMERCIAL),),
        is_default=is_default,
    )


EXPLAINER = Engine(
    name="chorale",
    capability=EXPLAIN,
    version="1",
    code_licence="Apache-2.0",
    description="Tells what the record of an operation holds, in eight languages. No weights.",
    devices=("cpu",),
    is_default=True,
    is_available=True,
)

REPHRASER = Engine(
    name="openai",
    capability=EXPLAIN,
    version="1",
    code_licence="Apache-2.0",
    description="A language model rephrases what `chorale` tells, by OpenAI's chat completions.",
    devices=("network",),
    is_available=True,
    remedy="set CHORALE_OPENAI_URL and CHORALE_OPENAI_MODEL, and CHORALE_OPENAI_API_KEY for a key",
)

REPLICATE = Engine(
    name="replicate",
    capability=PROMPT,
    version="1",
    code_licence=f"Apache-2.0 AND {UNSTATED}",  # its client, and models each under their own
    description=(
        "Models that live at Replicate: registered by RegisterModel, trained further there by"
        " TrainModel."
    ),
    devices=("network",),
    remedy=(
        "None for prompts: this build only trains and registers there"
        " (CHORALE_REPLICATE_API_TOKEN; ListProviders tells how it is)."
    ),
)

ENGINES = (
    Engine(
        name="mosaic",
        capability=TWO_TRACKS,
        version="1",
        code_licence="Apache-2.0",
        description=(
            "Recombines two tracks on their beats: one lends the rhythm, the other the harmony."
            " No weights."
        ),
        devices=("cpu",),
        is_default=True,
        is_available=True,
    ),
    Engine(
        name=CASCADE,
        capability=TWO_TRACKS,
        version="1",
        # The package encodec 0.1.1 carries this licence for its code.
        code_licence=f"Apache-2.0 AND {NONCOMMERCIAL}",
        description=(
            "EnCodec at 24 kHz and 6 kbit/s, and a cascade of transformers between its encoder"
            " and its decoder."
        ),
        weights=(
            Weights("models/encodec-24khz", NONCOMMERCIAL),
            Weights("models/cascade", "Apache-2.0"),
        ),
        devices=("cpu",),
        is_available=True,
        remedy=(
            "Train both, `chorale train codec models/encodec-24khz FILES` and then `chorale train"
            " cascade models/cascade FILES`, or bring weights in: `chorale models"
            " models/encodec-24khz --import FILE --engine encodec-cascade`, models/cascade alike."
        ),
    ),
    _musicgen("medium", "1.5 billion parameters", is_default=True),
    _musicgen("small", "300 million parameters"),
    _musicgen("large", "3.3 billion parameters"),
    _musicgen("melody", "1.5 billion parameters, led by a melody"),
    REPLICATE,
    Engine(
        name="bark",
        capability=VOCALS,
        version="0",
        code_licence="Apache-2.0",
        description="Bark: a sung line of up to 14 s from words.",
        weights=(Weights("models/bark", "MIT"),),
        is_default=True,
    ),
    EXPLAINER,
    REPHRASER,
)


def choose(capability: str, name: str, commercial_only: bool) -> Engine:
    """The engine of this name; for an empty name and `auto` the first that may be used.

    Raises `EngineUnknown`, and `EngineNoncommercial` for an engine named against the wish.
    """
    able = [engine for engine in ENGINES if engine.capability == capability]
    if name in ("", AUTO):
        return _default(able, commercial_only)
    for engine in able:
        if engine.name == name:
            if commercial_only and engine.noncommercial_licence:
                raise EngineNoncommercial(engine.name, engine.noncommercial_licence)
            return engine
    raise EngineUnknown(name, capability, ",".join(engine.name for engine in able))


def _default(able: Sequence[Engine], commercial_only: bool) -> Engine:
    allowed = [each for each in able if not (commercial_only and each.noncommercial_licence)]
    if not allowed:
        raise EngineNoncommercial(able[0].name, able[0].noncommercial_licence)
    return next((each for each in allowed if each.is_default), allowed[0])
