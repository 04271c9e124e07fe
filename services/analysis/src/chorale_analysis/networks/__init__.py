"""Published networks, written anew from their papers and the layout of their checkpoints."""
