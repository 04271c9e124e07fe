"""Beats, chords, key, structure, stems, drums, melody and lyrics of named audio."""
