"""Pages and filters of lists of operations."""

import base64
import binascii
import hashlib
import re
import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from chorale_runtime.operations.errors import PageTokenInvalid
from chorale_runtime.refusals import FieldViolation, RequestInvalid

PAGE_DEFAULT = 50
PAGE_MAX = 1000
FILTER_CHARACTERS_MAX = 500

_TERM = re.compile(r'\s*(done|method)\s*=\s*(true|false|"[^"]{1,200}")\s*')
_TOKEN = struct.Struct("!8sq16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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

    def token(self, parameters: str) -> str:
        """Make the page token; it serves only a list with the same parameters."""
        micros = (self.create_time - _EPOCH) // timedelta(microseconds=1)
        packed = _TOKEN.pack(_digest(parameters), micros, self.id.bytes)
        return base64.urlsafe_b64encode(packed).decode()

    @classmethod
    def parse(cls, token: str, parameters: str) -> Self | None:
        """Read a page token; None stands for the first page."""
        if not token:
            return None
        try:
            digest, micros, identity = _TOKEN.unpack(base64.urlsafe_b64decode(token))
            create_time = _EPOCH + timedelta(microseconds=micros)
        except (ValueError, binascii.Error, struct.error, OverflowError):
            raise PageTokenInvalid from None
        if digest != _digest(parameters):
            raise PageTokenInvalid
        return cls(create_time, uuid.UUID(bytes=identity))


def page_size(wanted: int) -> int:
    """How many to give: a default for 0, no more than the most, and nothing below."""
    if wanted < 0:
        raise _invalid("page_size", "it is at least 0")
    return min(wanted or PAGE_DEFAULT, PAGE_MAX)


def _digest(parameters: str) -> bytes:
    return hashlib.sha256(parameters.encode()).digest()[:8]


def _invalid(field: str, message: str) -> RequestInvalid:
    return RequestInvalid([FieldViolation(field, f"operations.{field}", message)])
