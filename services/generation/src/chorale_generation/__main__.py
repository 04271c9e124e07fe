"""Runs the service: `python -m chorale_generation`."""

from chorale_runtime.server import serve

from chorale_generation.app import build
from chorale_generation.settings import Settings

if __name__ == "__main__":
    serve(Settings, build)
