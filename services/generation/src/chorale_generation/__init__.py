"""Makes new audio, and keeps the models that make it."""
