"""Decoding off the event loop, in children that are locked in."""
