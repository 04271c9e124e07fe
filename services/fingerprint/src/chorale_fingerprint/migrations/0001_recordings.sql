-- A shelf holds what is searched together: one per owner, and one, owner '', of all that is public.
CREATE TABLE shelf (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner text NOT NULL UNIQUE,
    -- Codes of all recordings on it: how much a query is compared with.
    code_count bigint NOT NULL DEFAULT 0,
    -- Counts changes, so that one who searched first and enrols then knows whether it still holds.
    revision bigint NOT NULL DEFAULT 0
);
INSERT INTO shelf (owner) VALUES ('');

CREATE TABLE recording (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name uuid NOT NULL UNIQUE,
    owner text NOT NULL,
    shelf integer NOT NULL REFERENCES shelf,
    audio text NOT NULL,
    frame_count bigint NOT NULL,
    sample_rate_hz integer NOT NULL,
    title text NOT NULL,
    artist text NOT NULL,
    section integer NOT NULL,
    is_public boolean NOT NULL,
    labels jsonb NOT NULL,
    bpm double precision NOT NULL,
    key text NOT NULL,
    -- uint32, little-endian.
    codes bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX recording_owner ON recording (owner, id);

-- Every stretch of audio known to be a recording, the one it was enrolled from included.
CREATE TABLE copy (
    owner text NOT NULL,
    audio text NOT NULL,
    start_frame bigint NOT NULL,
    frame_count bigint NOT NULL,
    recording bigint NOT NULL REFERENCES recording ON DELETE CASCADE,
    PRIMARY KEY (owner, audio, start_frame, frame_count)
);
CREATE INDEX copy_recording ON copy (recording);

-- Where each code is heard. The primary key is the index that queries walk.
CREATE TABLE posting (
    shelf integer NOT NULL,
    code integer NOT NULL,
    recording bigint NOT NULL,
    position integer NOT NULL,
    PRIMARY KEY (shelf, code, recording, position)
);
