-- Audio made ready to train on. The sound lies in object storage and goes with the row.
CREATE TABLE dataset (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    title text NOT NULL,
    sha256 text NOT NULL,
    sample_rate_hz integer NOT NULL,
    duration_seconds double precision NOT NULL,
    -- [{"audio": ..., "frame_count": ..., "bpm": ..., "key": ..., "label": ..., "is_validation": ...}]
    items jsonb NOT NULL,
    -- [{"audio": ..., "reason": ...}]
    rejections jsonb NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    create_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dataset_owner ON dataset (owner, number DESC);

-- How far a training had come when its last checkpoint was stored.
CREATE TABLE training (
    operation uuid PRIMARY KEY,
    step bigint NOT NULL,
    resumed_count integer NOT NULL DEFAULT 0
);

-- Its curve. Points between two checkpoints come twice after a loss, and are the same.
CREATE TABLE training_point (
    operation uuid NOT NULL,
    step bigint NOT NULL,
    epoch double precision NOT NULL,
    training_loss double precision NOT NULL,
    validation_loss double precision NOT NULL,
    learning_rate double precision NOT NULL,
    checkpoint boolean NOT NULL,
    message text NOT NULL,
    event_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (operation, step)
);
