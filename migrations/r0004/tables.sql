-- What privacy asks for. Run again, this changes nothing.

-- What was erased, by hashes: of an event, of a message's id, of bytes that could not be read. Nothing of it is recorded
-- again until the hash is too old.
CREATE TABLE IF NOT EXISTS attribution_erased (
    key       uuid PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now()
);

-- Campaigns whose rows are being removed, being old, or are gone. Their numbers stay as they were.
-- `closed_by` is above every transaction that may not know it: while one of those is open, it may take something away
-- unknowingly. Until that number is found out, it is the highest that there is.
CREATE TABLE IF NOT EXISTS attribution_closed_campaigns (
    campaign_id int PRIMARY KEY,
    closed_at   timestamptz NOT NULL DEFAULT now(),
    closed_by   bigint NOT NULL,
    emptied_at  timestamptz
);

-- One more kind of runs. The rows that are there are of the old ones, and are checked while others go on.
ALTER TABLE attribution_runs DROP CONSTRAINT IF EXISTS attribution_runs_kind_check;
ALTER TABLE attribution_runs ADD CONSTRAINT attribution_runs_kind_check
    CHECK (kind IN ('replay', 'import', 'backfill', 'repair', 'erase')) NOT VALID;
