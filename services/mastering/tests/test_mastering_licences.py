"""What the service is made of may be linked into it."""

import re
from importlib import metadata
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
_GPL = re.compile(r"(?<!L)(?<!Lesser )\bA?GPL|(?<!Lesser )General Public License")


def test_no_package_of_the_service_is_gpl() -> None:
    """By what each locked package says of itself; LGPL may be linked."""
    names = re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text("utf-8"), flags=re.MULTILINE)
    assert len(names) > 20
    said = {name: licences(name) for name in names}
    assert [name for name, text in said.items() if _GPL.search(text)] == []
    assert {"matchering", "pedalboard"}.isdisjoint(names)


def licences(name: str) -> str:
    """The licence by its expression, its classifiers and its first line, whichever there are."""
    told = metadata.metadata(name).json
    classifiers = [text for text in told.get("classifier", []) if text.startswith("License")]
    words = [str(told.get("license_expression", "")), str(told.get("license", "")).split("\n")[0]]
    return "; ".join([*classifiers, *words])
