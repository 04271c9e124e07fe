"""A track at the loudness, tone and width asked for, never over its true peak."""
