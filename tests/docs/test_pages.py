"""The documentation names only what exists."""

import re
from pathlib import Path

import pytest
from chorale_client.command.main import COMMANDS, ELSEWHERE

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not {".venv", "node_modules", "gen", ".pytest_cache"} & set(path.parts)
]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)")
SHELL_LINE = re.compile(r"^ {4,}\$? ?((?:make|chorale) [a-z-]+)", re.MULTILINE)
FENCED_LINE = re.compile(r"^\$ ((?:make|chorale) [a-z-]+)", re.MULTILINE)


def _commands(page: Path) -> set[str]:
    text = page.read_text()
    return {*SHELL_LINE.findall(text), *FENCED_LINE.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link of a page names a file or a folder of the repository."""
    targets = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page: Path) -> None:
    """A `make` or `chorale` line of a page names a real target or command."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {f"make {target}" for target in targets}
    known |= {f"chorale {name}" for name in (*COMMANDS, *ELSEWHERE)}
    assert _commands(page) <= known


def test_the_readme_names_the_commands_that_ci_runs() -> None:
    """CI calls exactly the README's test command."""
    assert "make test" in _commands(ROOT / "README.md")
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("exec make test")


def test_every_make_target_says_what_it_does() -> None:
    """`make help` lists every target."""
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    explained = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    assert set(phony[1].split()) <= explained
