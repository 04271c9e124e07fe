"""Pages and filters of lists of operations."""

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from chorale_runtime import pages
from chorale_runtime.refusals import FieldViolation, RequestInvalid

FILTER_CHARACTERS_MAX = 500

_TERM = re.compile(r'\s*(done|method)\s*=\s*(true|false|"[^"]{1,200}")\s*')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID_BITS, _ID_MAX = 128, (1 << 128) - 1
_POSITION_MAX = 1 << (_ID_BITS + 57)  # the year 6536: datetime ends at 9999


@dataclass(frozen=True)
class Filter:
    """Which operations are wanted; None means any."""

    done: bool | None = None
    method: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `done=true AND method="..."`, either term optional."""
        found: dict[str, bool | str] = {}
        terms = text.split(" AND ") if text.strip() else []
        for term in terms:
            match = _TERM.fullmatch(term)
            if match is None or match[1] in found or len(text) > FILTER_CHARACTERS_MAX:
                raise _invalid("filter", 'it may say done=true, done=false and method="..."')
            is_text = match[2].startswith('"')
            if is_text != (match[1] == "method"):
                raise _invalid("filter", "done is true or false, method a name in quotes")
            found[match[1]] = match[2].strip('"') if is_text else match[2] == "true"
        done, method = found.get("done"), found.get("method")
        return cls(
            done=done if isinstance(done, bool) else None,
            method=method if isinstance(method, str) else None,
        )


@dataclass(frozen=True)
class Cursor:
    """The last operation of a page: the next one begins after it."""

    create_time: datetime
    id: uuid.UUID

    def token(self, *parameters: object) -> str:
        """Make the page token; it serves only a list with the same parameters."""
        micros = (self.create_time - _EPOCH) // timedelta(microseconds=1)
        return pages.token(micros << _ID_BITS | self.id.int, *parameters)

    @classmethod
    def parse(cls, token: str, *parameters: object) -> Self | None:
        """Read a page token; None stands for the first page."""
        found = pages.position(token, *parameters, position_max=_POSITION_MAX)
        if found is None:
            return None
        create_time = _EPOCH + timedelta(microseconds=found >> _ID_BITS)
        return cls(create_time, uuid.UUID(int=found & _ID_MAX))


def page_size(wanted: int) -> int:
    """How many to give: a default for 0, no more than the most, and nothing below."""
    if wanted < 0:  # the one list whose contract is not ours and has no bounds written in it
        raise _invalid("page_size", "it is at least 0")
    return pages.size(wanted)


def _invalid(field: str, message: str) -> RequestInvalid:
    return RequestInvalid([FieldViolation(field, f"operations.{field}", message)])
