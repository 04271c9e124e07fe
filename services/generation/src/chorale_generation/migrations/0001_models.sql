-- Versions of models. A version never changes; another content is another version.
CREATE TABLE model (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Empty: a base model, which everybody sees.
    owner text NOT NULL,
    -- `{model}` and `{version}` of `models/{model}/{version}`.
    model text NOT NULL,
    version text NOT NULL,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    engine text NOT NULL,
    capability text NOT NULL,
    -- [{"name": ..., "sha256": ..., "size_bytes": ...}]
    files jsonb NOT NULL DEFAULT '[]',
    licence text NOT NULL DEFAULT '',
    commercial_use boolean NOT NULL DEFAULT false,
    provider text NOT NULL DEFAULT '',
    provider_id text NOT NULL DEFAULT '',
    instrument text NOT NULL DEFAULT '',
    style text NOT NULL DEFAULT '',
    -- chorale.engines.v1.Provenance, serialised.
    provenance bytea,
    trained_by text NOT NULL DEFAULT '',
    dataset text NOT NULL DEFAULT '',
    parent text NOT NULL DEFAULT '',
    metrics jsonb NOT NULL DEFAULT '{}',
    create_time timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, model, version)
);

-- Names that point at versions, such as `stable`. `latest` is always the newest and is not kept.
CREATE TABLE alias (
    owner text NOT NULL,
    model text NOT NULL,
    alias text NOT NULL,
    target bigint NOT NULL REFERENCES model ON DELETE RESTRICT,
    PRIMARY KEY (owner, model, alias)
);
CREATE INDEX alias_target ON alias (target);
