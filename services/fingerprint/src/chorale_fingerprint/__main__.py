"""Runs the service: `python -m chorale_fingerprint`."""

from chorale_runtime.server import serve

from chorale_fingerprint.app import build
from chorale_fingerprint.settings import Settings

if __name__ == "__main__":
    serve(Settings, build)
