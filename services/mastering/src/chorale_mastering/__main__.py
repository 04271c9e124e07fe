"""Runs the service: `python -m chorale_mastering`."""

from chorale_runtime.server import serve

from chorale_mastering.app import build
from chorale_mastering.settings import Settings

if __name__ == "__main__":
    serve(Settings, build)
