-- Peaks of each recording's spectrum: what landmarks are made of, and what a match is judged by.
ALTER TABLE recording ADD COLUMN peaks bytea NOT NULL DEFAULT '';
ALTER TABLE recording ALTER COLUMN peaks SET STORAGE EXTERNAL;

-- Landmarks of recordings that are not in a segment yet.
CREATE TABLE landmark_fresh (
    recording bigint PRIMARY KEY REFERENCES recording ON DELETE CASCADE,
    shelf integer NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE landmark_fresh ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX landmark_fresh_shelf ON landmark_fresh (shelf, recording);

-- Landmarks of many recordings, in order of their numbers. Eight segments of a level become one of
-- the next, so that a query looks into few, and every landmark is written few times.
CREATE TABLE landmark_segment (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shelf integer NOT NULL,
    level integer NOT NULL,
    -- A landmark lies in the block of its number, shifted right by so many bits.
    shift integer NOT NULL,
    landmark_count bigint NOT NULL
);
CREATE INDEX landmark_segment_shelf ON landmark_segment (shelf, level);

-- Number, recording and place of each landmark, uint32 each, little-endian, in order of number.
CREATE TABLE landmark_block (
    segment integer NOT NULL REFERENCES landmark_segment ON DELETE CASCADE,
    block bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (segment, block)
);
ALTER TABLE landmark_block ALTER COLUMN data SET STORAGE EXTERNAL;
