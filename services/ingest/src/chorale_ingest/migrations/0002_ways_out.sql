-- Files in other encodings, what was measured, and where a cut lies in its parent.

-- A file in another encoding, made for one owner: a row before the object, `ready` once it is
-- whole. Whoever dies in between leaves a row that is not, which the sweep collects.
CREATE TABLE export (
    export_id uuid PRIMARY KEY,
    owner text NOT NULL,
    sha256 text NOT NULL,
    form text NOT NULL,
    sample_rate_hz integer NOT NULL,
    ready boolean NOT NULL DEFAULT false,
    size_bytes bigint NOT NULL DEFAULT 0,
    file_sha256 text NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX export_ready ON export (owner, sha256, form, sample_rate_hz) WHERE ready;
CREATE INDEX export_of_audio ON export (owner, sha256);
CREATE INDEX export_begun ON export (create_time) WHERE NOT ready;

ALTER TABLE audio
    ADD COLUMN parent_start_frame bigint,
    ADD COLUMN parent_frame_count bigint;

ALTER TABLE sound
    ADD COLUMN integrated_lufs double precision,
    ADD COLUMN true_peak_dbtp double precision,
    -- Whether those two were measured; either may be null all the same, as of silence.
    ADD COLUMN measured boolean NOT NULL DEFAULT false;

CREATE INDEX sound_unmeasured ON sound (create_time) WHERE NOT measured;

DROP VIEW entry;
DROP VIEW living;

CREATE VIEW living AS SELECT * FROM audio WHERE expire_time IS NULL OR expire_time > now();

CREATE VIEW entry AS
SELECT living.*, size_bytes, container, codec, encoding, sample_rate_hz, channel_count,
    frame_count, bit_depth, bit_rate_bps, sample_peak, embedded_tags, warnings, has_original,
    integrated_lufs, true_peak_dbtp
FROM living JOIN sound USING (sha256);
