-- Who may call, and how often. Shared by all services of the mesh.

-- What a tier may do is data: change a row and every replica follows within a minute.
CREATE TABLE tiers (
    tier text PRIMARY KEY CHECK (tier ~ '^[a-z][a-z0-9_]{0,39}$'),
    requests_per_hour integer CHECK (requests_per_hour > 0)  -- null: unlimited
);

INSERT INTO tiers (tier, requests_per_hour) VALUES
    ('free', 10),
    ('starter', 50),
    ('producer', 100),
    ('studio', 200),
    ('local', NULL);

-- Keys are random enough (256 bits) that a plain SHA-256 cannot be turned around.
CREATE TABLE api_keys (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    hint text NOT NULL,  -- the first characters, so that people can tell keys apart
    principal text NOT NULL CHECK (length(principal) BETWEEN 1 AND 200),
    tier text NOT NULL REFERENCES tiers (tier),
    is_service boolean NOT NULL DEFAULT false,
    label text NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz,
    revoke_time timestamptz
);

CREATE INDEX api_keys_by_principal ON api_keys (principal);

-- Requests of one principal in its current hour, which began with its first request.
-- `used` counts what replicas have leased, whether or not it was called upon yet.
CREATE TABLE usage (
    principal text PRIMARY KEY,
    window_start timestamptz NOT NULL,
    used integer NOT NULL CHECK (used >= 0)
);

-- Leases requests to a replica: at most `wanted`, at most a sixteenth of what is left, so that
-- near the limit leases are single requests and no replica sits on what another could use.
-- `owed` are requests that passed while the database was away. One statement, one row lock.
CREATE FUNCTION lease(
    who text, allowed integer, window_seconds integer, wanted integer, owed integer
) RETURNS TABLE (granted integer, remaining integer, started timestamptz, resets_in double precision)
LANGUAGE plpgsql AS $$
DECLARE
    -- Not now(): a transaction that waited for the row must not see an older moment than
    -- the one that held it.
    moment timestamptz;
    taken integer;
BEGIN
    INSERT INTO usage AS u (principal, window_start, used) VALUES (who, clock_timestamp(), 0)
        ON CONFLICT (principal) DO NOTHING;
    SELECT u.window_start, u.used INTO started, taken FROM usage u WHERE u.principal = who FOR UPDATE;
    moment := clock_timestamp();
    IF moment >= started + make_interval(secs => window_seconds) THEN
        started := moment;
        taken := 0;
    END IF;
    taken := taken + owed;
    granted := greatest(0, least(wanted, greatest(1, (allowed - taken) / 16), allowed - taken));
    UPDATE usage u SET window_start = started, used = taken + granted WHERE u.principal = who;
    remaining := greatest(0, allowed - taken - granted);
    resets_in := greatest(0, window_seconds - extract(epoch FROM moment - started));
    RETURN NEXT;
END
$$;
