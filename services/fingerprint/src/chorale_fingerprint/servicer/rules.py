"""What happens to duplicates, by the tier of who brings them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chorale.fingerprint.v1 import recordings_pb2

POLICIES = {
    "allow": recordings_pb2.DUPLICATE_POLICY_ALLOW,
    "warn": recordings_pb2.DUPLICATE_POLICY_WARN,
    "reject": recordings_pb2.DUPLICATE_POLICY_REJECT,
}


class RuleInvalid(ValueError):
    """A setting that says something of tiers says it in another way than `tier=value,...`."""

    def __init__(self, text: str, needed: str) -> None:
        super().__init__(text, needed)
        self.text, self.needed = text, needed

    def __str__(self) -> str:
        return f"{self.text!r} is no rule of a tier; needed: {self.needed}."


@dataclass(frozen=True)
class DuplicateRules:
    """The policy and the sections per song of every tier; those not named have the default."""

    policy: str
    sections_per_song_max: int
    policies: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, policy: str, limit: int, policies: str, sections: str) -> "DuplicateRules":
        """Reads what settings say: `free=reject,studio=allow` and `free=1`."""
        by_tier = _pairs(policies, f"tier=policy, of {', '.join(POLICIES)}")
        for tier, named in by_tier.items():
            if named not in POLICIES:
                raise RuleInvalid(f"{tier}={named}", f"a policy of {', '.join(POLICIES)}")
        limits = _pairs(sections, "tier=sections, a whole number")
        for tier, count in limits.items():
            if not count.isdecimal() or not 1 <= int(count) <= 1000:
                raise RuleInvalid(f"{tier}={count}", "sections from 1 to 1000")
        return cls(policy, limit, by_tier, {tier: int(count) for tier, count in limits.items()})

    def policy_of(self, tier: str, asked: int = 0) -> int:
        """What was asked for, or what the tier has; a tier that rejects takes no other wish."""
        own = POLICIES[self.policies.get(tier, self.policy)]
        if self.policies.get(tier) == "reject":
            return own
        return asked or own

    def sections_of(self, tier: str) -> int:
        """How many sections of one song this tier may bring."""
        return self.sections.get(tier, self.sections_per_song_max)


def _pairs(text: str, needed: str) -> dict[str, str]:
    pairs = [each.strip() for each in text.split(",") if each.strip()]
    for each in pairs:
        if each.count("=") != 1 or not all(part.strip() for part in each.split("=")):
            raise RuleInvalid(each, needed)
    return {tier.strip(): value.strip() for tier, value in (each.split("=") for each in pairs)}
