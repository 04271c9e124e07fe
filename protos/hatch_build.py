"""Builds the Python modules of the contract when `chorale-protos` is installed."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
import compile_protos


class CompileProtos(BuildHookInterface[Any]):
    """Runs `compile_protos` before the wheel is packed (or linked, when editable)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        generated = compile_protos.compile_protos(Path(self.root))
        if version != "editable":
            build_data["force_include"][str(generated)] = "/"
