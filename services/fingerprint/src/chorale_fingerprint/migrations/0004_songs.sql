-- The song that a recording is of, where it is of the same song as another; empty while it is alone.
ALTER TABLE recording ADD COLUMN song uuid;
CREATE INDEX recording_song ON recording (owner, song);
CREATE INDEX copy_audio ON copy (owner, audio);
