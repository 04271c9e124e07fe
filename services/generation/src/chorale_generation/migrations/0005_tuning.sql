-- Trainings at a provider that are not over yet: what must be found again by whoever goes on, or
-- be stopped there. The identity that the provider gave is stored before it is waited for.
CREATE TABLE tuning (
    operation uuid PRIMARY KEY,
    provider text NOT NULL,
    -- What was uploaded: its identity and address there, and what it is.
    file_id text NOT NULL,
    file_url text NOT NULL,
    sha256 text NOT NULL,
    size_bytes bigint NOT NULL,
    -- Empty until the provider has told it.
    training_id text NOT NULL DEFAULT '',
    resumed_count integer NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now()
);
