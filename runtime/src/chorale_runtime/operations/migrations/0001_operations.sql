-- Long work: what was asked for, how it stands, and what came of it.
CREATE TABLE operations (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    tier text NOT NULL,
    method text NOT NULL,
    request_id text NOT NULL,
    -- Tells a repeated request from another one under the same request_id.
    request_digest bytea NOT NULL,
    request bytea NOT NULL,
    queue text NOT NULL,
    priority integer NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    -- Which run this is. Whoever writes about a run names its attempt and is
    -- refused when a later one has begun.
    attempt integer NOT NULL DEFAULT 0,
    -- Runs that ended in a temporary error or lost their worker. A run that was
    -- handed back by a server shutting down is an attempt and no failure.
    failures integer NOT NULL DEFAULT 0,
    job_id bigint,
    cancel_requested boolean NOT NULL DEFAULT false,
    -- Its owner wants to know no more of it; the row goes when the work has ended.
    is_deleted boolean NOT NULL DEFAULT false,
    response bytea,
    error bytea,
    traceparent text NOT NULL DEFAULT '',
    audio text[] NOT NULL DEFAULT '{}',
    sequence bigint NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now(),
    start_time timestamptz,
    end_time timestamptz,
    expire_time timestamptz
);

CREATE UNIQUE INDEX operations_request ON operations (owner, method, request_id);
CREATE INDEX operations_owner ON operations (owner, create_time DESC, id DESC);
CREATE INDEX operations_queued ON operations (queue) WHERE state = 'queued';
CREATE INDEX operations_open ON operations (job_id) WHERE state IN ('queued', 'running');
CREATE INDEX operations_expiring ON operations (expire_time) WHERE expire_time IS NOT NULL;
CREATE INDEX operations_audio ON operations USING gin (audio);

-- The story of each operation, told without gaps over all its attempts.
CREATE TABLE operation_events (
    operation_id uuid NOT NULL REFERENCES operations ON DELETE CASCADE,
    sequence bigint NOT NULL,
    stage text NOT NULL,
    fraction double precision NOT NULL,
    message text NOT NULL,
    attempt integer NOT NULL,
    event_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operation_id, sequence)
);

-- An end is an end, whatever the code above this table believes.
CREATE FUNCTION operations_keep_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'operation % has ended as % and cannot become %', OLD.id, OLD.state, NEW.state;
END
$$;

CREATE TRIGGER operations_keep_ends BEFORE UPDATE ON operations FOR EACH ROW
    WHEN (
        OLD.state IN ('succeeded', 'failed', 'cancelled')
        AND (NEW.state, NEW.attempt, NEW.response, NEW.error)
            IS DISTINCT FROM (OLD.state, OLD.attempt, OLD.response, OLD.error)
    )
    EXECUTE FUNCTION operations_keep_ends();

-- Who listens to a schema's operations listens here.
CREATE FUNCTION operations_notify(_what text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('chorale_operations_' || current_schema(), _what)
$$;

-- Tells the next event of an operation and wakes its watchers.
CREATE FUNCTION operations_tell(
    _id uuid, _stage text, _fraction double precision, _message text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _sequence bigint;
    _attempt integer;
BEGIN
    UPDATE operations SET sequence = sequence + 1 WHERE id = _id
        RETURNING sequence, attempt INTO STRICT _sequence, _attempt;
    INSERT INTO operation_events (operation_id, sequence, stage, fraction, message, attempt)
        VALUES (_id, _sequence, _stage, _fraction, _message, _attempt);
    -- The last thousand are kept: what a client may have missed in minutes, not a log.
    DELETE FROM operation_events WHERE operation_id = _id AND sequence = _sequence - 1000;
    PERFORM operations_notify('event ' || _id);
END
$$;
