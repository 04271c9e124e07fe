-- What is stored. Bytes lie in object storage under the digest; these rows say what they are
-- and whose. `sound` is shared by everybody who stored the same bytes, `audio` is one
-- owner's claim on it: nobody reaches a sound but through an audio row.

CREATE TABLE sound (
    sha256 text PRIMARY KEY,
    size_bytes bigint NOT NULL,
    container text NOT NULL,
    codec text NOT NULL,
    encoding text NOT NULL,
    sample_rate_hz integer NOT NULL,
    channel_count integer NOT NULL,
    frame_count bigint NOT NULL,
    bit_depth integer NOT NULL,
    bit_rate_bps bigint NOT NULL,
    sample_peak double precision NOT NULL,
    embedded_tags jsonb NOT NULL,
    warnings text[] NOT NULL,
    has_original boolean NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE audio (
    owner text NOT NULL,
    sha256 text NOT NULL REFERENCES sound,
    sequence bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    file_name text NOT NULL,
    title text NOT NULL,
    tags text[] NOT NULL,
    privacy text NOT NULL CHECK (privacy IN ('private', 'public')),
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz,
    parents text[] NOT NULL,
    provenance bytea,
    PRIMARY KEY (owner, sha256)
);

CREATE UNIQUE INDEX audio_newest ON audio (owner, sequence DESC);
CREATE INDEX audio_of_sound ON audio (sha256);
CREATE INDEX audio_expiring ON audio (expire_time) WHERE expire_time IS NOT NULL;
CREATE INDEX audio_by_parent ON audio USING gin (parents);

-- Audio whose time is not over: what every read sees, whether or not the sweep came by.
CREATE VIEW living AS SELECT * FROM audio WHERE expire_time IS NULL OR expire_time > now();

CREATE VIEW entry AS
SELECT living.*, size_bytes, container, codec, encoding, sample_rate_hz, channel_count,
    frame_count, bit_depth, bit_rate_bps, sample_peak, embedded_tags, warnings, has_original
FROM living JOIN sound USING (sha256);

-- Digests whose objects may be left over: written before objects are put or rows deleted,
-- removed with the row that claims them, collected by the sweep.
CREATE TABLE garbage (
    sha256 text PRIMARY KEY,
    not_before timestamptz NOT NULL
);

-- What is gone, for services that derived something from it.
CREATE TABLE deletion (
    sequence bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    sha256 text NOT NULL,
    owner text NOT NULL,
    last boolean NOT NULL,
    delete_time timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE upload (
    upload_id uuid PRIMARY KEY,
    owner text NOT NULL,
    request_id uuid NOT NULL,
    request_digest bytea NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'finished', 'dead')),
    -- NULL while a stream of unknown length runs.
    size_bytes bigint,
    sha256 text NOT NULL,
    file_name text NOT NULL,
    title text NOT NULL,
    tags text[] NOT NULL,
    privacy text NOT NULL,
    committed_bytes bigint NOT NULL DEFAULT 0,
    -- Grows with every stream that takes the upload over; only the newest may commit.
    epoch bigint NOT NULL DEFAULT 0,
    -- Whether objects may lie under its prefix.
    staged boolean NOT NULL DEFAULT true,
    audio text,
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL,
    UNIQUE (owner, request_id)
);

CREATE INDEX upload_expiring ON upload (expire_time);
CREATE INDEX upload_open ON upload (owner) WHERE state = 'open';

CREATE VIEW open_upload AS SELECT * FROM upload WHERE state = 'open' AND expire_time > now();

CREATE VIEW known_upload AS
SELECT * FROM upload WHERE state IN ('open', 'finished') AND expire_time > now();

CREATE TABLE part (
    upload_id uuid NOT NULL REFERENCES upload ON DELETE CASCADE,
    offset_bytes bigint NOT NULL,
    size_bytes bigint NOT NULL,
    key text NOT NULL,
    PRIMARY KEY (upload_id, offset_bytes)
);

CREATE TABLE usage (
    owner text NOT NULL,
    day date NOT NULL,
    uploads bigint NOT NULL,
    PRIMARY KEY (owner, day)
);
