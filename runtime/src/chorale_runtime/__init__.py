"""Being a server of the Chorale mesh. Knows no audio: imports neither numpy nor torch."""
