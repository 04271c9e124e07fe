"""What the database keeps: recordings, patterns, and how they are found."""
