-- A pattern has a row for every layout that it is indexed in: the first as it was given, with its
-- MIDI, and those that it was indexed anew in.
ALTER TABLE pattern ADD COLUMN is_first boolean NOT NULL DEFAULT true;
ALTER TABLE pattern ADD COLUMN has_midi boolean NOT NULL DEFAULT false;
UPDATE pattern SET has_midi = true WHERE midi <> '';
ALTER TABLE pattern DROP CONSTRAINT pattern_name_key;
ALTER TABLE pattern ADD CONSTRAINT pattern_name_layout UNIQUE (name, layout);
CREATE UNIQUE INDEX pattern_first ON pattern (name) WHERE is_first;
CREATE INDEX pattern_instrument_first ON pattern (instrument, id) WHERE is_first;

-- Layouts that patterns are indexed anew in. From the moment that it is here, what is indexed in an
-- older one is indexed in it too; once it is whole, it is the one that is searched.
CREATE TABLE layout_renewal (
    layout text PRIMARY KEY,
    instrument integer NOT NULL,
    is_whole boolean NOT NULL DEFAULT false,
    create_time timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX pattern_like_drums_2 ON pattern
    USING hnsw ((direction::public.vector(60)) public.vector_ip_ops)
    WHERE is_public AND layout = 'layouts/drums/2';
