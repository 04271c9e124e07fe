"""Writes the generated parts of the documentation; `--check` fails when one is out of date.

A part stands between two comments, `<!-- generated: KIND ARGUMENT -->` and
`<!-- generated: end -->`, in any Markdown file. What is between them belongs to this file.

    python tools/docs.py [--check]
"""

import importlib
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
PART = re.compile(
    r"(?P<begin><!-- generated: (?P<kind>[a-z]+) ?(?P<argument>[\w./-]*) -->\n)"
    r".*?(?P<end><!-- generated: end -->)",
    re.DOTALL,
)


def main() -> None:
    check = "--check" in sys.argv
    stale = []
    for path in sorted(_markdown()):
        text = path.read_text()
        fresh = PART.sub(_render, text)
        if fresh != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(fresh)
    if stale and check:
        raise SystemExit("Out of date; run `make docs`: " + ", ".join(stale))


def _markdown() -> list[Path]:
    hidden = {".venv", "node_modules", "gen"}
    return [path for path in ROOT.rglob("*.md") if not hidden & set(path.parts)]


def _render(part: re.Match[str]) -> str:
    body = KINDS[part["kind"]](part["argument"])
    if body is None:  # its service is not set up: leave what stands there
        return part[0]
    return f"{part['begin']}\n{body.strip()}\n\n{part['end']}"


def _settings(module: str) -> str | None:
    if find_spec(module) is None:
        return None
    settings = importlib.import_module("chorale_runtime.settings")
    return str(settings.table(importlib.import_module(f"{module}.settings").Settings))


def _errors(_: str) -> str:
    """Every reason: what it means, its code, what to do, an example."""
    proto = _described("chorale/errors/v1/error_reason.proto")
    values = proto.enum_type[0].value
    comments = {
        location.path[3]: location.leading_comments
        for location in proto.source_code_info.location
        if list(location.path[:3]) == [5, 0, 2] and len(location.path) == 4
    }
    sections = []
    for index, value in enumerate(values):
        if value.number:
            name = value.name.removeprefix("ERROR_REASON_")
            prose = re.sub(r"^ ", "", comments[index], flags=re.MULTILINE)
            sections.append(f"### {name}\n\n{prose.strip()}\n")
    return "\n".join(sections)


def _commands(_: str) -> str:
    main = importlib.import_module("chorale_client.command.main")
    helps = {name: text for name, (_, text) in {**main.ELSEWHERE, **main.COMMANDS}.items()}
    rows = [f"| `chorale {name}` | {text} |" for name, text in helps.items()]
    return "\n".join(["| command | does |", "|---|---|", *rows])


def _described(name: str) -> FileDescriptorProto:
    image = FileDescriptorSet.FromString((ROOT / "protos/gen/chorale.binpb").read_bytes())
    return next(file for file in image.file if file.name == name)


KINDS: dict[str, Callable[[str], str | None]] = {
    "settings": _settings,
    "errors": _errors,
    "commands": _commands,
}


if __name__ == "__main__":
    main()
