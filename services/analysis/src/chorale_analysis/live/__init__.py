"""Listening while it plays: nothing here ever looks ahead, and memory stays the same."""
