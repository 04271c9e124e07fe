"""The codec and the transformers between its encoder and its decoder."""
