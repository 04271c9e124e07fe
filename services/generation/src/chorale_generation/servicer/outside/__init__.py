"""What others run, reached over the network."""
