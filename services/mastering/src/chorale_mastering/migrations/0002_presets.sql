-- Settings that callers keep under names of their own.
CREATE TABLE presets (
    owner text NOT NULL,
    preset_id text NOT NULL,
    told bytea NOT NULL, -- chorale.mastering.v1.Preset
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, preset_id)
);
