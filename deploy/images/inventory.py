"""Writes what is installed, as CycloneDX JSON: the inventory (SBOM) each image carries.

inventory.py NAME > sbom.cdx.json
"""

import json
import sys
from importlib.metadata import Distribution, distributions
from typing import Any


def inventory(name: str) -> dict[str, Any]:
    """The document: one component for each distribution that this Python can import."""
    found = {each.metadata["Name"].lower().replace("_", "-"): each for each in distributions()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": name}},
        "components": [_component(key, found[key]) for key in sorted(found)],
    }


def _component(name: str, distribution: Distribution) -> dict[str, Any]:
    version = distribution.version
    component: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
    }
    licence = distribution.metadata.get("License-Expression")
    if licence:
        component["licenses"] = [{"expression": licence}]
    return component


if __name__ == "__main__":
    json.dump(inventory(sys.argv[1]), sys.stdout, indent=1)
