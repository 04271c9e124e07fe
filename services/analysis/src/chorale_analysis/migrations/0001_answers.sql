-- What was heard, by what was asked: an answer never changes, so asking again costs nothing.
-- The key is a digest: from it nobody learns which audio anybody has.
CREATE TABLE answers (
    key bytea PRIMARY KEY,
    answer bytea NOT NULL,
    expire_time timestamptz NOT NULL
);
CREATE INDEX answers_expire_time ON answers (expire_time);
