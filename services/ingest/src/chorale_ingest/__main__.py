"""Serves the ingest service: `python -m chorale_ingest`."""

from chorale_runtime.server import serve

from chorale_ingest.app import build
from chorale_ingest.settings import Settings

if __name__ == "__main__":
    serve(Settings, build)
