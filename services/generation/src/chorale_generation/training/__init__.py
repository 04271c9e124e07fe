"""Training: what is learned, and how, so that a lost worker loses minutes at most."""
