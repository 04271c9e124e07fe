"""Settings: read once, refused when they are not what anyone asked for."""

from dataclasses import FrozenInstanceError, dataclass, fields
from pathlib import Path

import pytest
from chorale_runtime.settings import (
    ServerSettings,
    SettingsRefused,
    environment,
    load,
    setting,
    table,
)


@dataclass(frozen=True)
class Settings(ServerSettings):
    """Rows of every type."""

    limit_bytes: int = setting(5, unit="bytes", minimum=1, maximum=10, help="How many bytes.")
    share: float = setting(0.5, minimum=0, maximum=1, help="Which share.")
    is_loud: bool = setting(False, help="Whether it is loud.")
    names: tuple[str, ...] = setting((), help="Names, comma between.")
    mode: str = setting("fast", choices=("fast", "slow"), help="How.")
    secret_word: str = setting("", secret=True, help="The word.")


def test_defaults_stand_where_nothing_is_said() -> None:
    """An empty environment makes the defaults; variables of others are not looked at."""
    assert load(Settings, {"PATH": "/bin", "LIMIT_BYTES": "9"}) == Settings()


def test_every_type_is_read() -> None:
    """int, float, bool, tuple and str come out as such."""
    found = load(
        Settings,
        {
            "CHORALE_LIMIT_BYTES": "7",
            "CHORALE_SHARE": "0.25",
            "CHORALE_IS_LOUD": "yes",
            "CHORALE_NAMES": "a, b",
            "CHORALE_MODE": "slow",
        },
    )
    assert found == Settings(limit_bytes=7, share=0.25, is_loud=True, names=("a", "b"), mode="slow")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """A typing error cannot silently mean the default."""
    with pytest.raises(SettingsRefused, match=r"Did you mean CHORALE_LIMIT_BYTES\?"):
        load(Settings, {"CHORALE_LIMIT_BYTE": "7"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LIMIT_BYTES", "11", "at most 10 bytes"),
        ("LIMIT_BYTES", "0", "at least 1 bytes"),
        ("LIMIT_BYTES", "many", "a whole number"),
        ("SHARE", "nan", "at least 0"),
        ("SHARE", "inf", "at most 1"),
        ("IS_LOUD", "perhaps", "true or false"),
        ("MODE", "sideways", "one of fast, slow"),
        ("SECRET_WORD_FILE", "/nowhere/at/all", "cannot be read"),
        ("LIMIT_BYTES_FILE", "/etc/hostname", "not a setting"),
    ],
)
def test_a_value_out_of_bounds_is_refused(name: str, value: str, said: str) -> None:
    """The refusal says which variable, what it is, and what was needed."""
    with pytest.raises(SettingsRefused) as refused:
        load(Settings, {f"CHORALE_{name}": value})
    assert said in str(refused.value)
    assert f"CHORALE_{name}" in str(refused.value)


def test_all_problems_are_told_at_once() -> None:
    """Nobody has to start a service twice to find the second mistake."""
    with pytest.raises(SettingsRefused) as refused:
        load(Settings, {"CHORALE_LIMIT_BYTES": "x", "CHORALE_NO_SUCH": "1"})
    assert len(refused.value.problems) == 2


def test_a_secret_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    """Neither repr nor table nor error tells it."""
    file = tmp_path / "word"
    file.write_text("open sesame\n")
    found = load(Settings, {"CHORALE_SECRET_WORD_FILE": str(file)})
    assert found.secret_word == "open sesame"
    assert "sesame" not in repr(found)
    assert "sesame" not in table(Settings)
    with pytest.raises(SettingsRefused) as refused:
        load(Settings, {"CHORALE_SECRET_WORD_FILE": str(file), "CHORALE_SECRET_WORD": "sesame"})
    assert "sesame" not in str(refused.value)


def test_settings_are_frozen() -> None:
    """What was read stays."""
    with pytest.raises(FrozenInstanceError):
        Settings().limit_bytes = 6  # type: ignore[misc]


def test_the_table_has_every_row_with_its_unit_and_help() -> None:
    """What `--settings` prints is complete."""
    lines = table(Settings).splitlines()
    assert len(lines) == 2 + len(fields(Settings))
    assert "| `CHORALE_LIMIT_BYTES` | `5` | bytes | How many bytes. |" in lines
    assert all(line.split("|")[4].strip() for line in lines[2:])


def test_the_environment_of_settings_makes_them_again() -> None:
    """A supervisor can hand settings to a process and get the same."""
    asked = Settings(limit_bytes=9, is_loud=True, names=("x", "y"), secret_word="w", share=0.125)
    assert load(Settings, dict(environment(asked))) == asked
