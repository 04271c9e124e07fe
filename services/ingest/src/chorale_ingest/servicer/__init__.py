"""IngestService, adapted to gRPC."""

from chorale_ingest.servicer.errors import ERRORS
from chorale_ingest.servicer.service import IngestServicer

__all__ = ["ERRORS", "IngestServicer"]
