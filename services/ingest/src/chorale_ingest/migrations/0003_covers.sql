-- Cover art: whether an upload asked for it, and what was kept of it, for each owner by itself.

ALTER TABLE upload ADD COLUMN keep_cover boolean NOT NULL DEFAULT false;
ALTER TABLE audio ADD COLUMN cover_type text NOT NULL DEFAULT '';

DROP VIEW open_upload;
DROP VIEW known_upload;

CREATE VIEW open_upload AS SELECT * FROM upload WHERE state = 'open' AND expire_time > now();

CREATE VIEW known_upload AS
SELECT * FROM upload WHERE state IN ('open', 'finished') AND expire_time > now();

DROP VIEW entry;
DROP VIEW living;

CREATE VIEW living AS SELECT * FROM audio WHERE expire_time IS NULL OR expire_time > now();

CREATE VIEW entry AS
SELECT living.*, size_bytes, container, codec, encoding, sample_rate_hz, channel_count,
    frame_count, bit_depth, bit_rate_bps, sample_peak, embedded_tags, warnings, has_original,
    integrated_lufs, true_peak_dbtp
FROM living JOIN sound USING (sha256);
