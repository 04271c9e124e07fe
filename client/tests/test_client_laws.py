"""The memory ingest obeys the laws that the real one obeys: it may stand for it in tests."""

from collections.abc import Awaitable, Callable

import pytest
from chorale_client import AsyncChorale
from laws_reading import LAWS as READING_LAWS
from laws_upload import LAWS, STRANGER_LAWS
from loopback import PATIENCE, Served


@pytest.mark.parametrize("law", [*LAWS, *READING_LAWS], ids=lambda law: law.__name__)
async def test_law(
    law: Callable[[AsyncChorale, int], Awaitable[None]], chorale: AsyncChorale
) -> None:
    """Each law holds."""
    await law(chorale, 1)


@pytest.mark.parametrize("law", STRANGER_LAWS, ids=lambda law: law.__name__)
async def test_law_among_strangers(
    law: Callable[[AsyncChorale, AsyncChorale, int], Awaitable[None]],
    chorale: AsyncChorale,
    served: Served,
) -> None:
    """Each law about two principals holds."""
    async with AsyncChorale(served.address, token="stranger", patience=PATIENCE) as stranger:
        await law(chorale, stranger, 1)
