-- What came with results, archive, imports and repairs. Run again, this changes nothing.

-- How far the native rows of listmonk's tables have been looked at: every row up to seen_id has. Rows up to pending_id
-- were there, committed or not, when the transaction pending_xid was the next to begin.
CREATE TABLE IF NOT EXISTS attribution_native_marks (
    engagement_type text PRIMARY KEY CONSTRAINT attribution_native_marks_type_check CHECK (engagement_type IN ('view', 'click')),
    seen_id         bigint NOT NULL,
    pending_id      bigint NOT NULL,
    pending_xid     bigint NOT NULL,
    pending_at      timestamptz NOT NULL DEFAULT now()
);

-- What an operator must see: two keys that disagree, a Message-ID that was replaced on its way.
CREATE TABLE IF NOT EXISTS attribution_incidents (
    id         bigserial PRIMARY KEY,
    kind       text NOT NULL CONSTRAINT attribution_incidents_kind_check CHECK (kind IN ('keys_disagree', 'message_id_replaced')),
    subject_id bigint NOT NULL,
    details    jsonb NOT NULL,
    found_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT attribution_incidents_kind_key UNIQUE (kind, subject_id)
);

-- The bodies of each drained batch as they came, compressed by zstd.
CREATE TABLE IF NOT EXISTS attribution_archive (
    id                bigserial PRIMARY KEY,
    kind              text NOT NULL CONSTRAINT attribution_archive_kind_check CHECK (kind IN ('event', 'message')),
    first_received_at timestamptz NOT NULL,
    last_received_at  timestamptz NOT NULL,
    bodies            int NOT NULL,
    raw_bytes         bigint NOT NULL,
    content           bytea NOT NULL
);
-- It is compressed already.
ALTER TABLE attribution_archive ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS attribution_archive_received ON attribution_archive (last_received_at);

-- Replays, imports, backfills and repairs: one row each.
CREATE TABLE IF NOT EXISTS attribution_runs (
    id          serial PRIMARY KEY,
    kind        text NOT NULL CONSTRAINT attribution_runs_kind_check CHECK (kind IN ('replay', 'import', 'backfill', 'repair')),
    state       text NOT NULL DEFAULT 'running'
                CONSTRAINT attribution_runs_state_check CHECK (state IN ('running', 'finished', 'undone')),
    parameters  jsonb NOT NULL,
    summary     jsonb,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

-- How far each source of an import or a backfill has been read.
CREATE TABLE IF NOT EXISTS attribution_imports (
    source      text PRIMARY KEY,
    position    bigint NOT NULL DEFAULT 0,
    finished_at timestamptz,
    run_id      int NOT NULL REFERENCES attribution_runs (id)
);

-- The journal of repairs and backfills: each row changed, as it was and as it became. NULL is a row that was not there.
CREATE TABLE IF NOT EXISTS attribution_journal (
    id         bigserial PRIMARY KEY,
    run_id     int NOT NULL REFERENCES attribution_runs (id),
    table_name text NOT NULL,
    row_id     bigint NOT NULL,
    was        jsonb,
    became     jsonb,
    reason     text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    undone_at  timestamptz
);
CREATE INDEX IF NOT EXISTS attribution_journal_run ON attribution_journal (run_id, id);
CREATE INDEX IF NOT EXISTS attribution_journal_row ON attribution_journal (table_name, row_id);

-- Attributed events to be told to the user's webhook, written in the transaction that attributes them.
CREATE TABLE IF NOT EXISTS attribution_outbox (
    id        bigserial PRIMARY KEY,
    kind      text NOT NULL CONSTRAINT attribution_outbox_kind_check CHECK (kind IN ('engagement', 'delivery')),
    event_row bigint NOT NULL
);

-- One call of that webhook: events cut from the outbox, by their rows, tried until they are taken or given up.
CREATE TABLE IF NOT EXISTS attribution_webhooks (
    id              uuid PRIMARY KEY,
    engagements     bigint[] NOT NULL,
    deliveries      bigint[] NOT NULL,
    state           text NOT NULL DEFAULT 'waiting' CONSTRAINT attribution_webhooks_state_check CHECK (state IN ('waiting', 'given_up')),
    attempts        smallint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    -- Until then the sender that took it is the only one that may send it.
    leased_until    timestamptz,
    last_attempt_at timestamptz,
    failure         text CONSTRAINT attribution_webhooks_failure_check CHECK (failure IN ('away', 'refused', 'gone')),
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS attribution_webhooks_due ON attribution_webhooks (next_attempt_at) WHERE state = 'waiting';
