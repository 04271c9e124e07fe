"""Words of songs, found at providers: off unless configured."""
