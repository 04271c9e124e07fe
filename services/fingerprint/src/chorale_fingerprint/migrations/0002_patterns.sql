CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;

-- A piece of music, of which recordings and patterns are parts.
CREATE TABLE song (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name uuid NOT NULL UNIQUE,
    owner text NOT NULL,
    title text NOT NULL,
    artist text NOT NULL,
    -- The recording that it was begun with, if any; a recording is of one song.
    recording uuid UNIQUE,
    create_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX song_owner ON song (owner, id);

CREATE TABLE pattern (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name uuid NOT NULL UNIQUE,
    owner text NOT NULL,
    is_public boolean NOT NULL,
    song bigint NOT NULL REFERENCES song,
    instrument integer NOT NULL,
    layout text NOT NULL,
    -- As it was given; float4, little-endian.
    given bytea NOT NULL,
    -- Its direction, weighed: the product of two is their likeness.
    direction public.vector NOT NULL,
    recording uuid,
    section integer NOT NULL,
    bpm double precision NOT NULL,
    key text NOT NULL,
    genre text NOT NULL,
    quality_score double precision NOT NULL,
    audio text NOT NULL,
    start_frame bigint NOT NULL,
    frame_count bigint NOT NULL,
    midi bytea NOT NULL,
    preview_audio text NOT NULL,
    time_signature text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX pattern_owner ON pattern (owner, id);
CREATE INDEX pattern_song ON pattern (song);
-- A search walks what is public, and then its caller's private ones: rows of others that are
-- private are in no index that it reads, so they cannot show, not even as time spent.
CREATE INDEX pattern_public ON pattern (layout) WHERE is_public;
CREATE INDEX pattern_private ON pattern (owner, layout) WHERE NOT is_public;

-- One graph per layout, because a graph has one number of dimensions.
CREATE INDEX pattern_like_drums_1 ON pattern
    USING hnsw ((direction::public.vector(60)) public.vector_ip_ops)
    WHERE is_public AND layout = 'layouts/drums/1';
CREATE INDEX pattern_like_bass_1 ON pattern
    USING hnsw ((direction::public.vector(50)) public.vector_ip_ops)
    WHERE is_public AND layout = 'layouts/bass/1';
CREATE INDEX pattern_like_chords_1 ON pattern
    USING hnsw ((direction::public.vector(40)) public.vector_ip_ops)
    WHERE is_public AND layout = 'layouts/chords/1';
CREATE INDEX pattern_like_melody_1 ON pattern
    USING hnsw ((direction::public.vector(61)) public.vector_ip_ops)
    WHERE is_public AND layout = 'layouts/melody/1';

-- What was indexed by which request, so that repeating it indexes nothing twice.
CREATE TABLE pattern_request (
    owner text NOT NULL,
    request_id uuid NOT NULL,
    -- SHA-256 of the request.
    digest bytea NOT NULL,
    pattern_count integer NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, request_id)
);
