"""Engines of generation: told as they stand, chosen by name, never in silence."""

import pickle

import pytest
from chorale_generation import engines
from chorale_generation.engines import (
    ENGINES,
    EngineNoncommercial,
    EngineUnknown,
    choose,
)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_weights_are_named_as_models_with_a_licence(engine: engines.Engine) -> None:
    """What an engine will need is told by its name in the registry and under which licence."""
    for weights in engine.weights:
        assert weights.model.startswith("models/")
        assert weights.licence


@pytest.mark.parametrize("capability", sorted({engine.capability for engine in ENGINES}))
def test_every_capability_has_one_default(capability: str) -> None:
    """`auto` and an empty name mean the one default of a capability, which is listed first."""
    able = [engine for engine in ENGINES if engine.capability == capability]
    assert [engine.is_default for engine in able] == [True] + [False] * (len(able) - 1)
    assert choose(capability, "", False) is choose(capability, "auto", False) is able[0]


def test_names_are_unique_within_a_capability() -> None:
    """A name means one engine."""
    names = [(engine.capability, engine.name) for engine in ENGINES]
    assert len(names) == len(set(names))


def test_unknown_engines_are_told_what_there_is() -> None:
    """The error lists the engines that do the work, and only those."""
    with pytest.raises(EngineUnknown) as caught:
        choose(engines.TWO_TRACKS, "bark", False)
    assert caught.value.known == "mosaic,encodec-cascade"


def test_commercial_only_routes_away_from_noncommercial_licences() -> None:
    """An engine named against the wish is refused; `auto` takes one that may be used, or none."""
    with pytest.raises(EngineNoncommercial) as caught:
        choose(engines.TWO_TRACKS, "encodec-cascade", True)
    assert "CC-BY-NC-4.0" in caught.value.licence
    assert choose(engines.TWO_TRACKS, "auto", True).name == "mosaic"
    with pytest.raises(EngineNoncommercial):
        choose(engines.PROMPT, "", True)


@pytest.mark.parametrize(
    "error",
    [EngineUnknown("a", "b", "c"), EngineNoncommercial("a", "b")],
)
def test_errors_cross_processes(error: Exception) -> None:
    """An error raised in a worker process arrives whole."""
    copy = pickle.loads(pickle.dumps(error))
    assert (vars(copy), str(copy)) == (vars(error), str(error))
