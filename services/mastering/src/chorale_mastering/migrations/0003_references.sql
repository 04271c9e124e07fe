-- What matching needs of reference tracks; their sound is not kept.
CREATE TABLE reference_tracks (
    sequence bigserial PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    owner text NOT NULL,
    genre text NOT NULL,
    told bytea NOT NULL, -- chorale.mastering.v1.Reference
    facts bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reference_tracks_by_owner ON reference_tracks (owner, sequence);
