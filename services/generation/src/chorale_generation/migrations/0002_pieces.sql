-- Pieces of sound that is being made, for those who listen meanwhile. The frames lie in object
-- storage; they go when the operation is forgotten, or is done and its audio can be read instead.
CREATE TABLE piece (
    operation uuid NOT NULL,
    start_frame bigint NOT NULL,
    frame_count bigint NOT NULL,
    PRIMARY KEY (operation, start_frame)
);

-- What the pieces of an operation are frames of.
CREATE TABLE stream (
    operation uuid PRIMARY KEY,
    sample_rate_hz integer NOT NULL,
    channel_count integer NOT NULL,
    total_frame_count bigint NOT NULL,
    provenance bytea NOT NULL -- chorale.engines.v1.Provenance
);
