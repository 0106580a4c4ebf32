-- name: take_over
-- Give the replaced system's {table} our columns. One transaction, no row touched: a constant default of a new column is
-- kept in the catalogue. It says of the rows that are there that the replaced system attributed them (those it did not
-- are parked next, by `settle`), and is gone for those to come. When it did so is not known: attributed_at stays NULL.
ALTER TABLE {table}
    ADD COLUMN IF NOT EXISTS azure_message_id    uuid,
    ADD COLUMN IF NOT EXISTS campaign_id         int,
    ADD COLUMN IF NOT EXISTS subscriber_id       int,
    ADD COLUMN IF NOT EXISTS event_timestamp     timestamptz NOT NULL,
    ADD COLUMN IF NOT EXISTS created_at          timestamptz,
    ADD COLUMN IF NOT EXISTS internet_message_id text COLLATE "C",
    ADD COLUMN IF NOT EXISTS event_key           uuid,
    ADD COLUMN IF NOT EXISTS event_id            text,
    ADD COLUMN IF NOT EXISTS state               attribution_state NOT NULL DEFAULT 'attributed',
    ADD COLUMN IF NOT EXISTS matched_by          attribution_key DEFAULT 'replaced_system',
    ADD COLUMN IF NOT EXISTS received_at         timestamptz,
    ADD COLUMN IF NOT EXISTS attributed_at       timestamptz,
    ADD COLUMN IF NOT EXISTS attempts            smallint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS next_attempt_at     timestamptz,
    ADD COLUMN IF NOT EXISTS expired_at          timestamptz,
    ADD COLUMN IF NOT EXISTS expired_reason      text,
    ADD COLUMN IF NOT EXISTS header_campaign     text,
    ADD COLUMN IF NOT EXISTS header_subscriber   text;
ALTER TABLE {table}
    ALTER COLUMN azure_message_id DROP NOT NULL,
    ALTER COLUMN created_at       SET DEFAULT now(),
    ALTER COLUMN state            DROP DEFAULT,
    ALTER COLUMN matched_by       DROP DEFAULT;

-- name: azure_engagement_events_kind
-- varchar(20) and text are stored alike: nothing is rewritten.
ALTER TABLE azure_engagement_events
    ADD COLUMN IF NOT EXISTS engagement_type    text NOT NULL,
    ADD COLUMN IF NOT EXISTS engagement_context text,
    ADD COLUMN IF NOT EXISTS user_agent         text;
ALTER TABLE azure_engagement_events ALTER COLUMN engagement_type TYPE text;

-- name: azure_delivery_events_kind
ALTER TABLE azure_delivery_events
    ADD COLUMN IF NOT EXISTS status                  text NOT NULL,
    ADD COLUMN IF NOT EXISTS status_reason           text,
    ADD COLUMN IF NOT EXISTS delivery_status_details text;
ALTER TABLE azure_delivery_events ALTER COLUMN status TYPE text;

-- name: trigger
-- The replaced system's handler may go on inserting while we take over, and after. Its INSERT does not name `state`, and
-- no default would do: a row with a campaign is attributed, one without is parked. So this fills it in, for rows that do
-- not say their state: never ours.
CREATE OR REPLACE FUNCTION attribution_foreign_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.internet_message_id :=
        coalesce(attribution_message_id(NEW.internet_message_id), nullif(btrim(NEW.internet_message_id), ''));
    IF NEW.campaign_id IS NULL THEN
        NEW.state := 'parked';
        NEW.next_attempt_at := now();
    ELSE
        NEW.state := 'attributed';
        NEW.matched_by := 'replaced_system';
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS attribution_foreign_event ON {table};
CREATE TRIGGER attribution_foreign_event BEFORE INSERT ON {table} FOR EACH ROW
    WHEN (NEW.state IS NULL)
    EXECUTE FUNCTION attribution_foreign_event();

-- name: quarantine_ids
-- An event that waits under an id that is none would wait in vain, and an endless id would not fit the index of those that
-- wait. `settle` takes such ids away; here they are kept.
INSERT INTO attribution_quarantine (content_key, kind, reason, detail, body)
SELECT md5('{table} ' || id)::uuid, 'event', 'message_id_invalid', '{table} row ' || id,
       convert_to(internet_message_id, 'UTF8')
  FROM {table}
 WHERE id > %(after)s AND id <= %(upto)s
   AND state = 'attributed' AND campaign_id IS NULL
   AND btrim(internet_message_id) <> '' AND attribution_message_id(internet_message_id) IS NULL
 ORDER BY id
ON CONFLICT (content_key) DO NOTHING

-- name: settle
-- Park the old rows that have no campaign: their message may be tracked yet. Those older than the deadline get one attempt,
-- which is what created_at is filled in for, should it be missing.
UPDATE {table}
   SET state = 'parked', matched_by = NULL, next_attempt_at = now(), created_at = coalesce(created_at, now()),
       internet_message_id = attribution_message_id(internet_message_id)
 WHERE id > %(after)s AND id <= %(upto)s AND state = 'attributed' AND campaign_id IS NULL

-- name: normalise
-- One spelling for the ids of old rows. On a row that is settled an id that is none may stay: it is never looked for.
UPDATE {table}
   SET internet_message_id =
           coalesce(attribution_message_id(internet_message_id), nullif(btrim(internet_message_id), ''))
 WHERE id > %(after)s AND id <= %(upto)s
   AND internet_message_id IS DISTINCT FROM
           coalesce(attribution_message_id(internet_message_id), nullif(btrim(internet_message_id), ''))
