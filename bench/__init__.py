"""Benchmarks: ours and a yardstick, side by side in one run."""
