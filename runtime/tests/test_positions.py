"""Positions in page tokens: found again with the key, and saying nothing without it."""

import itertools

from chorale_runtime.positions import unveiled, veiled

KEY, OTHER = bytes(range(16)), bytes(16)


def test_a_veiled_position_is_found_again() -> None:
    """Every position comes back, and two never become one."""
    positions = [*range(200), (1 << 62) - 1, 1 << 31, (1 << 31) - 1]
    numbers = [veiled(each, KEY) for each in positions]
    assert [unveiled(each, KEY) for each in numbers] == positions
    assert len(set(numbers)) == len(positions)
    assert all(0 <= each < 1 << 62 for each in numbers)


def test_neighbours_are_not_near() -> None:
    """How far two positions are apart cannot be read from what is told of them."""
    numbers = [veiled(each, KEY) for each in range(200)]
    steps = [later - earlier for earlier, later in itertools.pairwise(numbers)]
    assert min(map(abs, steps)) > 1 << 40
    assert 60 < sum(step > 0 for step in steps) < 140
    assert numbers != [veiled(each, OTHER) for each in range(200)]
