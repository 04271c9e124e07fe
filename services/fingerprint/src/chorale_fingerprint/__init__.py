"""Knows recordings again: which one, where, and how surely."""
