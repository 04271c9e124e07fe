"""One track out of two, on their beats: no weights, only what was heard."""
