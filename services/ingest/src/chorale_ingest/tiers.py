"""What each tier may store: data, read from `tiers.json` or a file of the operator's."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

UNLIMITED = -1
LEAST = "free"


@dataclass(frozen=True)
class Tier:
    """The limits of one tier; -1 is without limit."""

    name: str
    uploads_per_day: int
    upload_bytes: int
    """The largest file."""
    duration_seconds: int
    """The longest audio."""
    clip_seconds_min: int
    """The shortest cut."""
    clip_seconds: int
    """The longest cut."""
    kept_audio: int
    """How much audio may be kept past its expiry, counted in pieces."""
    stored_bytes: int
    """The sum of the sizes of all originals."""
    private_audio: bool
    """Whether audio may be private; otherwise all of it is public."""


class TiersInvalid(Exception):
    """The tiers' file is not of the form that is needed."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The tiers cannot be read: {self.problem}."


class QuotaExceeded(Exception):
    """A quota of the tier is used up."""

    def __init__(self, quota: str, tier: str, limit: int) -> None:
        super().__init__(quota, tier, limit)
        self.quota, self.tier, self.limit = quota, tier, limit

    def __str__(self) -> str:
        return f"The {self.tier} tier allows {self.limit} of {self.quota}, and they are used up."


class AudioTooLarge(Exception):
    """The file is larger than the tier allows."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes, self.limit_bytes = size_bytes, limit_bytes
        self.quota = "upload_bytes"

    def __str__(self) -> str:
        return f"The file has {self.size_bytes} bytes; at most {self.limit_bytes} are allowed."


class Tiers:
    """All tiers, by name."""

    def __init__(self, tiers: Mapping[str, Tier]) -> None:
        self._tiers = dict(tiers)

    def of(self, name: str) -> Tier:
        """The tier of that name; a name that is not known gets the least, and its privacy."""
        known = self._tiers.get(name)
        return known or dataclasses.replace(self._tiers[LEAST], name=name, private_audio=True)


def parse(text: str) -> Tiers:
    """Read tiers from JSON: name -> limits, every limit given."""
    try:
        rows = json.loads(text)
        tiers = {name: Tier(name=name, **row) for name, row in rows.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise TiersInvalid(str(error)) from error
    for tier in tiers.values():
        for limit in dataclasses.fields(Tier):
            value = getattr(tier, limit.name)
            if limit.type is int and (type(value) is not int or value < UNLIMITED):
                raise TiersInvalid(f"{tier.name}.{limit.name} is {value!r}")
    if LEAST not in tiers:
        raise TiersInvalid(f"there is no tier {LEAST!r}")
    return Tiers(tiers)


def over(used: int, limit: int) -> bool:
    """Whether one more would be over the limit."""
    return limit != UNLIMITED and used >= limit
