"""TestEngine over the wire: engines tried on sounds of known truth."""

import uuid
from typing import Any

import pytest
from analysis_calls import refused, unpacked
from chorale.analysis.v1 import engines_pb2
from chorale_analysis.engine_trials import TRIALS
from chorale_analysis.examples import EXAMPLES
from operation_calls import ended

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _request(**fields: Any) -> engines_pb2.TestEngineRequest:
    return engines_pb2.TestEngineRequest(request_id=str(uuid.uuid4()), **fields)


async def test_our_engines_pass(channel: Any, analysis: Any) -> None:
    """Every capability is tried on what it is for, and says what was expected and found."""
    operation, _ = await ended(channel, await analysis.TestEngine(_request()))
    answer = unpacked(operation, engines_pb2.TestEngineResponse)
    failed = [(t.name, t.expected, t.found) for t in answer.tests if not t.passed]
    assert not failed
    assert answer.passed
    assert {test.capability for test in answer.tests} == set(TRIALS)
    assert all(test.found and test.seconds > 0 for test in answer.tests)


async def test_every_trial_has_its_sound() -> None:
    """What is promised by name is what is there."""
    promised = {(capability, name) for capability, names in TRIALS.items() for name in names}
    assert promised == set(EXAMPLES)


async def test_what_cannot_be_tried_is_refused(analysis: Any) -> None:
    """Engines and capabilities that are none, and an engine that cannot work here."""
    for fields, wanted in (
        ({"engine": "nobody"}, "ENGINE_UNKNOWN"),
        ({"capability": "taste"}, "ENGINE_UNKNOWN"),
        ({"capability": "chords", "engine": "btc-sl"}, "WEIGHTS_MISSING"),
    ):
        _, info = await refused(analysis.TestEngine(_request(**fields)))
        assert info.reason == wanted


async def test_an_estimate_starts_nothing(analysis: Any) -> None:
    """`validate_only` says how long it will take."""
    operation = await analysis.TestEngine(_request(capability="key", validate_only=True))
    assert unpacked(operation, engines_pb2.TestEngineResponse).estimate.seconds > 0
