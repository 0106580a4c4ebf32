-- What the drain counts to notice a bad deploy, or that Azure changed something. Run again, this changes nothing.

-- What a drain process has drained in some seconds: one row, written beside its batches. What is older than an hour or
-- two serves nobody.
CREATE TABLE IF NOT EXISTS attribution_tallies (
    id          bigserial PRIMARY KEY,
    counted_at  timestamptz NOT NULL DEFAULT now(),
    events      int NOT NULL,
    malformed   int NOT NULL,
    unknown     int NOT NULL,
    engagements int NOT NULL,
    without_id  int NOT NULL,
    reasons     jsonb
);
CREATE INDEX IF NOT EXISTS attribution_tallies_counted ON attribution_tallies (counted_at);

-- Names that this release does not know, each seen for the first time at seen_at. Never a value.
CREATE TABLE IF NOT EXISTS attribution_names (
    id          bigserial PRIMARY KEY,
    kind        text NOT NULL CONSTRAINT attribution_names_kind_check CHECK (kind IN (
                    'event_type', 'envelope_key', 'data_key', 'details_key', 'status', 'engagement_type')),
    name        text NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now(),
    accepted_at timestamptz,
    CONSTRAINT attribution_names_kind_key UNIQUE (kind, name)
);

-- More kinds of incidents. The rows that are there are of the old ones, and are checked while others go on.
ALTER TABLE attribution_incidents DROP CONSTRAINT IF EXISTS attribution_incidents_kind_check;
ALTER TABLE attribution_incidents ADD CONSTRAINT attribution_incidents_kind_check
    CHECK (kind IN ('keys_disagree', 'message_id_replaced', 'poison', 'drift', 'id_missing')) NOT VALID;
