"""What each tier may do with patterns: data, read from `tiers.json` or a file of the operator's."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chorale_fingerprint.layouts import DRUMS

UNLIMITED = -1
LEAST = "free"
# Nobody can change to these.
_NOT_SOLD = ("service", "local")
NONE, ONLY_DRUMS, ALL = "none", "drums", "all"


@dataclass(frozen=True)
class Tier:
    """The limits of one tier; -1 is without limit."""

    name: str
    private_patterns: bool
    """Whether patterns may be private; otherwise all are public."""
    own_midi: str
    """Of which instruments the MIDI of own patterns is given out: none, drums or all."""
    similar_midi: bool
    """Whether MIDI of others' patterns is given out."""
    similar_results: int
    """How many similar patterns a search returns at most."""

    def may_read_midi(self, instrument: int, is_own: bool) -> bool:
        """Whether the MIDI of a pattern is given out."""
        if not is_own:
            return self.similar_midi
        return self.own_midi == ALL or (self.own_midi == ONLY_DRUMS and instrument == DRUMS)


class TiersInvalid(Exception):
    """The tiers' file is not of the form that is needed."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The tiers cannot be read: {self.problem}."


class TierForbids(Exception):
    """The caller's tier does not include what it asks for."""

    def __init__(self, tier: str, feature: str, tiers: str) -> None:
        super().__init__(tier, feature, tiers)
        self.tier, self.feature, self.tiers = tier, feature, tiers

    def __str__(self) -> str:
        return f"The tier {self.tier} does not include {self.feature}; these do: {self.tiers}."


class Tiers:
    """All tiers, by name."""

    def __init__(self, tiers: Mapping[str, Tier]) -> None:
        self._tiers = dict(tiers)

    def of(self, name: str) -> Tier:
        """The tier of that name; a name that is not known gets the least, and its privacy."""
        known = self._tiers.get(name)
        return known or dataclasses.replace(self._tiers[LEAST], name=name, private_patterns=True)

    def require(self, name: str, feature: str, allows: Callable[[Tier], bool]) -> None:
        """Raises `TierForbids`, with the tiers that would do, unless the tier allows it."""
        if not allows(self.of(name)):
            sold = [tier for tier in self._tiers.values() if tier.name not in _NOT_SOLD]
            able = [tier.name for tier in sold if allows(tier)]
            raise TierForbids(name, feature, ",".join(able))


def parse(text: str) -> Tiers:
    """Reads tiers from JSON: name -> limits, every limit given."""
    try:
        rows = json.loads(text)
        tiers = {name: Tier(name=name, **row) for name, row in rows.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise TiersInvalid(str(error)) from error
    for tier in tiers.values():
        for limit in dataclasses.fields(Tier):
            value = getattr(tier, limit.name)
            if type(value) is not limit.type or (limit.type is int and value < UNLIMITED):
                raise TiersInvalid(f"{tier.name}.{limit.name} is {value!r}")
        if tier.own_midi not in (NONE, ONLY_DRUMS, ALL):
            raise TiersInvalid(f"{tier.name}.own_midi is {tier.own_midi!r}")
    if LEAST not in tiers:
        raise TiersInvalid(f"there is no tier {LEAST!r}")
    return Tiers(tiers)
