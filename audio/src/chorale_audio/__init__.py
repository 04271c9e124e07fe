"""Named audio as a signal: where its PCM lies, reading it, and writing what was made."""
