"""Tiers as data: read whole or refused, and unknown ones get the least."""

import json
from importlib import resources

import pytest
from chorale_fingerprint.tiers import TierForbids, TiersInvalid, parse

KNOWN = (resources.files("chorale_fingerprint") / "tiers.json").read_text(encoding="utf-8")


def test_unknown_tiers_get_the_least_and_privacy() -> None:
    """A tier that the file does not name has the limits of `free`, and may keep things private."""
    tiers = parse(KNOWN)
    unknown, free = tiers.of("gold"), tiers.of("free")
    assert (unknown.own_midi, unknown.similar_results) == (free.own_midi, free.similar_results)
    assert unknown.private_patterns
    assert not free.private_patterns


def test_a_refusal_names_who_would_not_be_refused() -> None:
    """Tiers that one can change to are told; `service` and `local` are none."""
    tiers = parse(KNOWN)
    tiers.require("studio", "pattern_midi", lambda tier: tier.similar_midi)
    with pytest.raises(TierForbids) as refused:
        tiers.require("starter", "pattern_midi", lambda tier: tier.similar_midi)
    told = refused.value
    assert (told.tier, told.feature, told.tiers) == ("starter", "pattern_midi", "producer,studio")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"own_midi": "bass"}, "free.own_midi is 'bass'"),
        ({"similar_results": -2}, "free.similar_results is -2"),
        ({"similar_results": True}, "free.similar_results is True"),
        ({"similar_midi": 1}, "free.similar_midi is 1"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_not_of_the_form_is_refused(changed: dict[str, object], problem: str) -> None:
    """The problem says which limit of which tier is wrong."""
    rows = json.loads(KNOWN)
    rows["free"] |= changed
    with pytest.raises(TiersInvalid, match=problem.replace(".", r"\.")):
        parse(json.dumps(rows))
    with pytest.raises(TiersInvalid, match="no tier 'free'"):
        parse("{}")
