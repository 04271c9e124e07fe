"""The engines of this service: who does what, under which licence, and whether it can work."""

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chorale_analysis.chord_dictionaries import DICTIONARIES
from chorale_analysis.harmony import VOCABULARIES
from chorale_analysis.weights import (
    BEAT_TRANSFORMER,
    BEATNET,
    BTC_PL,
    BTC_SL,
    CHORD_CNN_LSTM,
    SKEY,
    Weights,
)

AUTO = "auto"
BEATS, KEY, CHORDS, STRUCTURE = "beats", "key", "chords", "structure"
LIVE, DYNAMICS = "live", "dynamics"

_MADMOM_SECONDS = 1200.0  # it holds the whole sound: 20 minutes are 212 MB
_WHOLE_SECONDS = 1200.0  # so do networks; 20 minutes at 22.05 kHz are 106 MB

# Whom `auto` hears beside the default engine, where that was measured to be better.
_HELPERS = {BEATS: "madmom"}
_PRICE_OF_OURS = 0.01

_PERMISSIVE = frozenset(
    {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "ISC", "MIT", ""}
)


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


class EngineUnavailable(Exception):
    """The engine is known, and cannot work here."""

    def __init__(self, engine: str, remedy: str) -> None:
        super().__init__(engine, remedy)
        self.engine, self.remedy = engine, remedy

    def __str__(self) -> str:
        return f"The engine {self.engine!r} cannot work here. What helps: {self.remedy}"


class WeightsMissing(EngineUnavailable):
    """The engine is known, and its weights are not here."""

    def __init__(self, engine: str, remedy: str) -> None:
        super().__init__(engine, remedy)
        self.missing = f"weights of {engine}"


class EngineNoncommercial(Exception):
    """`commercial_only` is set and the engine asked for forbids commercial use."""

    def __init__(self, engine: str, licence: str) -> None:
        super().__init__(engine, licence)
        self.engine, self.licence = engine, licence

    def __str__(self) -> str:
        return f"The engine {self.engine!r} is under {self.licence}, which forbids commercial use."


@dataclass(frozen=True)
class Engine:
    """One way to do one capability."""

    name: str
    capability: str
    version: str
    description: str
    code_licence: str
    weights_licence: str = ""
    weights: str = ""  # name in the model registry; empty when it needs none
    is_present: bool = True  # whether this build can run it
    is_default: bool = False
    devices: tuple[str, ...] = ("cpu",)
    vocabularies: tuple[str, ...] = ()
    price: float = 0.0  # CPU seconds per second of audio; 0: as the capability usually costs
    limit_seconds: float = 0.0  # the longest audio it takes; 0: as the service does
    file: Weights | None = None  # that somebody has to bring; None: none, or it comes with the code
    path: str = ""  # where that file is
    digests: tuple[tuple[str, str], ...] = ()  # of the files that are there: name, SHA-256
    help: str = "None yet: this build cannot run it."  # what to do when it is not present

    @property
    def allows_commercial_use(self) -> bool:
        """Whether both licences allow it."""
        return {self.code_licence, self.weights_licence} <= _PERMISSIVE

    @property
    def remedy(self) -> str:
        """What to do when it is not present."""
        return "" if self.is_present else self.help

    def takes(self, duration_seconds: float) -> bool:
        """Whether sound of this length is within its own limit."""
        return not self.limit_seconds or duration_seconds <= self.limit_seconds


def _madmom(
    capability: str, description: str, price: float, vocabularies: tuple[str, ...] = ()
) -> Engine:
    """An engine of madmom, present where madmom is installed; its weights come with it."""
    return Engine(
        name="madmom",
        capability=capability,
        version="0.16.1",
        description=description,
        code_licence="BSD-3-Clause",
        weights_licence="CC-BY-NC-SA-4.0",
        weights="madmom/0.16.1",
        is_present=importlib.util.find_spec("madmom") is not None,
        vocabularies=vocabularies,
        price=price,
        limit_seconds=_MADMOM_SECONDS,
        help="pip install --no-build-isolation madmom==0.16.1",
    )


def _brought(
    name: str,
    capability: str,
    description: str,
    weights_licence: str,
    file: Weights,
    vocabularies: tuple[str, ...] = (),
    price: float = 0.02,
    limit_seconds: float = _WHOLE_SECONDS,
    version: str = "1",
) -> Engine:
    """An engine of ours for published weights, which have to be brought."""
    return Engine(
        name=name,
        capability=capability,
        version=version,
        description=description,
        code_licence="Apache-2.0",
        weights_licence=weights_licence,
        weights=f"{name}/{file.sha256[:12]}" if file.sha256 else name,
        is_present=False,
        vocabularies=vocabularies,
        price=price,
        limit_seconds=limit_seconds,
        file=file,
        help=file.remedy(),
    )


ENGINES = (
    Engine(
        name="chorale",
        capability=BEATS,
        version="5",
        description="Spectral and harmonic flux, decoded by a state space and a learned choice.",
        code_licence="Apache-2.0",
        is_default=True,
    ),
    _brought(
        "beat-transformer",
        BEATS,
        "Beats and downbeats by dilated attention over two parts of the mix, what strikes and what"
        " lasts; published for five stems, which are not made here.",
        "MIT",
        BEAT_TRANSFORMER,
        price=0.1,
    ),
    _brought(
        "beatnet",
        BEATS,
        "Beats and downbeats by a causal recurrent network, decoded by a bar-pointer state space.",
        "CC-BY-4.0",
        BEATNET,
        version="2",
    ),
    _madmom(BEATS, "Beats and downbeats by bidirectional recurrent networks.", 0.14),
    Engine(
        name="chorale",
        capability=CHORDS,
        version="2",
        description="Notes with overtones and bass, decoded by a segmental model.",
        code_licence="Apache-2.0",
        is_default=True,
        vocabularies=tuple(VOCABULARIES),
    ),
    _brought(
        "btc-pl",
        CHORDS,
        "Chords by a bidirectional transformer, trained on pseudo-labels of copyrighted audio.",
        "MIT",
        BTC_PL,
        ("large_voca",),
        price=0.005,
        limit_seconds=0.0,
    ),
    _brought(
        "btc-sl",
        CHORDS,
        "Chords by a bidirectional transformer, trained on labels of copyrighted audio.",
        "MIT",
        BTC_SL,
        ("large_voca", "majmin"),
        price=0.005,
        limit_seconds=0.0,
    ),
    _brought(
        "chord-cnn-lstm",
        CHORDS,
        "Chords by five convolutional and recurrent networks, trained on copyrighted audio.",
        "MIT",
        CHORD_CNN_LSTM,
        tuple(DICTIONARIES),
        price=0.2,
    ),
    _madmom(
        CHORDS,
        "Major and minor chords by a convolutional network and a random field.",
        0.3,
        ("majmin",),
    ),
    Engine(
        name="chorale",
        capability=KEY,
        version="3",
        description="Tuned chroma of spectral peaks, likened to the profiles of 24 keys.",
        code_licence="Apache-2.0",
        is_default=True,
    ),
    _brought("skey", KEY, "The key of the whole by a self-supervised network.", "MIT", SKEY),
    _madmom(KEY, "The key of the whole by a convolutional network.", 0.06),
    Engine(
        name="chorale",
        capability=STRUCTURE,
        version="1",
        description="Changes and repetitions of beat-synchronous harmony and timbre.",
        code_licence="Apache-2.0",
        is_default=True,
    ),
    Engine(
        name="chorale",
        capability=DYNAMICS,
        version="1",
        description="Loudness by ITU-R BS.1770-5 and EBU R 128, level, silence and onsets.",
        code_licence="Apache-2.0",
        is_default=True,
    ),
    Engine(
        name="chorale",
        capability=LIVE,
        version="2",
        description="Beats, chords, key and loudness while it plays: nothing looks ahead.",
        code_licence="Apache-2.0",
        is_default=True,
        vocabularies=tuple(VOCABULARIES),
    ),
)
"""By capability, the default first. More come with the engines themselves."""

EDITOR = Engine(
    name="chorale",
    capability="chord-editing",
    version="1",
    description="Chords simplified, merged, moved, spelt, numbered and counted.",
    code_licence="Apache-2.0",
)

PAINTER = Engine(
    name="chorale",
    capability="pictures",
    version="1",
    description="Sound and what was found in it, drawn as PNG and SVG.",
    code_licence="Apache-2.0",
)

LIBRARIAN = Engine(
    name="lyrics",
    capability="lyrics",
    version="1",
    description="Words of songs, as providers tell them.",
    code_licence="Apache-2.0",
)


def known(weights_directory: str = "", capability: str = "") -> tuple[Engine, ...]:
    """The engines, of one capability or all: present where their weights are and torch is."""
    asked = (engine for engine in ENGINES if capability in ("", engine.capability))
    return tuple(_with_weights(engine, weights_directory) for engine in asked)


def _with_weights(engine: Engine, directory: str) -> Engine:
    path = engine.file.path(directory) if engine.file else ""
    if not engine.file or not path or importlib.util.find_spec("torch") is None:
        return engine
    found = replace(engine, path=path, is_present=True, digests=engine.file.digests(path))
    if engine.file.sha256:
        return found
    # Nobody could tell the published digest here: the version names the files that did the work.
    told = hashlib.sha256("".join(digest for _, digest in found.digests).encode()).hexdigest()
    return replace(found, version=f"{engine.version}+{told[:12]}")


def choose(
    capability: str,
    name: str,
    commercial_only: bool = False,
    weights_directory: str = "",
    duration_seconds: float = 0.0,
) -> Engine:
    """The engine of this name, able to work; the default for an empty name.

    For `auto` it is the default with who helps it, is there and takes sound of that length, as one
    engine of both names. Raises `EngineUnknown`, `EngineNoncommercial` and `EngineUnavailable`: no
    engine ever stands in for another that was asked for by name.
    """
    able = known(weights_directory, capability)
    for engine in able:
        if engine.name == name or (name in ("", AUTO) and engine.is_default):
            if commercial_only and not engine.allows_commercial_use:
                raise EngineNoncommercial(engine.name, engine.weights_licence)
            if not engine.is_present:
                lacks = engine.file and not engine.file.path(weights_directory)
                kind = WeightsMissing if lacks else EngineUnavailable
                raise kind(engine.name, engine.remedy)
            if name == AUTO:
                return _helped(engine, able, commercial_only, duration_seconds)
            return engine
    raise EngineUnknown(name, capability, ",".join(engine.name for engine in able))


def long_enough(
    capability: str, duration_seconds: float, weights_directory: str = ""
) -> tuple[str, ...]:
    """The engines that are there and take sound of this length."""
    return tuple(
        engine.name
        for engine in known(weights_directory, capability)
        if engine.is_present and engine.takes(duration_seconds)
    )


def _helped(
    default: Engine, able: Sequence[Engine], commercial_only: bool, duration_seconds: float
) -> Engine:
    """The default with its helper, under both's licences; alone where none is there and fits."""
    for helper in able:
        fits = helper.allows_commercial_use or not commercial_only
        fits = fits and helper.is_present and helper.takes(duration_seconds)
        if fits and helper.name == _HELPERS.get(default.capability):
            return replace(
                helper,
                name=f"{default.name}+{helper.name}",
                version=f"{default.version}+{helper.version}",
                description=f"{default.description} Beside it: {helper.description}",
                vocabularies=default.vocabularies,
                price=helper.price + _PRICE_OF_OURS,
            )
    return default
