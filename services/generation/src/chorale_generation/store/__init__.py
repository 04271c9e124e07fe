"""What this service keeps: models, pieces of sound on their way, and the way to ingest."""
