"""Pages: every item once, and no token but a list's own opens it."""

import base64

import pytest
from chorale_runtime import pages
from hypothesis import given
from hypothesis import strategies as st


@given(count=st.integers(0, 120), asked=st.integers(0, 130))
def test_pages_give_every_item_once_and_in_order(count: int, asked: int) -> None:
    """Whatever the size; 0 stands for the default."""
    items, token = range(count), ""
    found: list[int] = []
    while True:
        page = pages.page(items, asked, token, "beats")
        assert len(page.items) <= (asked or pages.SIZE_DEFAULT)
        found += page.items
        token = page.next_token
        if not token:
            break
    assert found == list(items)


def test_a_size_has_a_default_and_a_most() -> None:
    """Nobody gets more than the most by asking for more."""
    assert [pages.size(asked) for asked in (0, 1, 1000, 1001, 1 << 31)] == [50, 1, 1000, 1000, 1000]


@given(position=st.integers(0, pages.POSITION_MAX), parameters=st.lists(st.text()))
def test_a_token_serves_the_list_that_gave_it(position: int, parameters: list[str]) -> None:
    """With the same parameters it says the position, with any others it is refused."""
    token = pages.token(position, *parameters)
    assert pages.position(token, *parameters) == position
    for others in ((*parameters, ""), (*parameters, "x"), ("".join(parameters), 1)):
        with pytest.raises(pages.PageTokenInvalid):
            pages.position(token, *others)


@given(text=st.text(min_size=1, max_size=200) | st.binary(min_size=1).map(
    lambda raw: base64.urlsafe_b64encode(raw).decode()
))  # fmt: skip
def test_whatever_is_no_token_is_refused(text: str) -> None:
    """Text of any kind, base64 of any bytes: refused, never believed, never a failure."""
    with pytest.raises(pages.PageTokenInvalid):
        pages.position(text, "ada", "")


def test_a_position_beyond_what_databases_count_to_is_refused() -> None:
    """Who forges the digest, which is no secret, still reaches no overflow."""
    with pytest.raises(pages.PageTokenInvalid):
        pages.position(pages.token(pages.POSITION_MAX + 1, "ada"), "ada")
