"""Positions in lists, so that their tokens say nothing of other owners.

Rows of all owners are numbered together: a number in a token would say how much others have brought
in between. It is veiled by a permutation that only this service knows (M. Luby, C. Rackoff, "How to
Construct Pseudorandom Permutations from Pseudorandom Functions", 1988: four rounds).
"""

import hashlib
import hmac

from chorale_runtime import pages
from chorale_runtime.database import Database

_HALF_BITS, _ROUNDS = 31, 4
_HALF = (1 << _HALF_BITS) - 1
_POSITION_MAX = (1 << 2 * _HALF_BITS) - 1


class Positions:
    """Writes and reads page tokens. Its key is the one row of the schema's table `position_key`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._key = b""

    async def token(self, position: int, *parameters: object) -> str:
        """Makes the token for where a list with these parameters goes on."""
        return pages.token(veiled(position, await self._secret()), *parameters)

    async def position(self, page_token: str, *parameters: object) -> int | None:
        """Reads a token; None for the first page."""
        found = pages.position(page_token, *parameters, position_max=_POSITION_MAX)
        return None if found is None else unveiled(found, await self._secret())

    async def _secret(self) -> bytes:
        if not self._key:
            async with self._database.connection() as connection:
                row = await (await connection.execute("SELECT key FROM position_key")).fetchone()
            assert row is not None
            self._key = row["key"].bytes
        return self._key


def veiled(position: int, key: bytes) -> int:
    """Another number of 62 bits, which says nothing of the first without the key."""
    left, right = position >> _HALF_BITS, position & _HALF
    for turn in range(_ROUNDS):
        left, right = right, left ^ _mixed(turn, right, key)
    return left << _HALF_BITS | right


def unveiled(number: int, key: bytes) -> int:
    """The position that was veiled."""
    left, right = number >> _HALF_BITS, number & _HALF
    for turn in reversed(range(_ROUNDS)):
        left, right = right ^ _mixed(turn, left, key), left
    return left << _HALF_BITS | right


def _mixed(turn: int, half: int, key: bytes) -> int:
    digest = hmac.digest(key, bytes([turn]) + half.to_bytes(4), hashlib.sha256)
    return int.from_bytes(digest[:4]) & _HALF
