-- Files of models on their way in.
CREATE TABLE model_upload (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner text NOT NULL,
    request_id uuid NOT NULL,
    file_name text NOT NULL,
    sha256 text NOT NULL,
    size_bytes bigint NOT NULL,
    committed_bytes bigint NOT NULL DEFAULT 0,
    finished boolean NOT NULL DEFAULT false,
    -- Counts streams that wrote: only the last may.
    writer integer NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL,
    UNIQUE (owner, request_id)
);
CREATE INDEX model_upload_expire ON model_upload (expire_time);

-- What is stored of an upload, by the stream that stored it.
CREATE TABLE model_part (
    upload uuid NOT NULL REFERENCES model_upload ON DELETE CASCADE,
    start_byte bigint NOT NULL,
    writer integer NOT NULL,
    PRIMARY KEY (upload, start_byte)
);
