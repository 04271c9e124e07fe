"""What a principal may be called."""

from __future__ import annotations

from chorale_runtime.refusals import CredentialsInvalid

_CHARACTERS_MAX = 200


def checked_principal(name: object) -> str:
    """Accepts 1 to 200 printable ASCII characters: a name travels in metadata and in logs."""
    if (
        isinstance(name, str)
        and 0 < len(name) <= _CHARACTERS_MAX
        and name.isascii()
        and name.isprintable()
    ):
        return name
    raise CredentialsInvalid("a principal or tier is 1 to 200 printable ASCII characters")
