"""Lets the tests of this folder share modules, which worker processes import by name too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
