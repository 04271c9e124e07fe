"""Runs the service: `python -m chorale_analysis`."""

from chorale_runtime.server import serve

from chorale_analysis.app import build
from chorale_analysis.settings import Settings

if __name__ == "__main__":
    serve(Settings, build)
