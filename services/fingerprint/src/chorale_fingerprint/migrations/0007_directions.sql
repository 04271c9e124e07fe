-- What filters ask for first, and with it what likeness is: where filters leave few, each is compared
-- without a look at its row. Genre first, then key and tempo: PostgreSQL 18 skips what is not asked.
CREATE INDEX pattern_direction ON pattern (layout, genre, key, bpm)
    INCLUDE (section, quality_score, id, direction) WHERE is_public;
