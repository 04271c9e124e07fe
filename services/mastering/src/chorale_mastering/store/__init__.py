"""The rows of this service, and the files it hands to ingest."""
