-- What positions in page tokens are veiled by: random, the same for all replicas.
CREATE TABLE position_key (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    key uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO position_key DEFAULT VALUES;
