-- name: take_over
-- Give the replaced system's table our columns. One transaction, no row touched: a constant default of a new column is
-- kept in the catalogue. It dates the rows that are there, and is gone for those to come.
-- Columns that some version of the replaced system lacks come first; a required one can come only to an empty table.
ALTER TABLE azure_message_tracking
    ADD COLUMN IF NOT EXISTS azure_message_id     uuid,
    ADD COLUMN IF NOT EXISTS campaign_id          int NOT NULL,
    ADD COLUMN IF NOT EXISTS subscriber_id        int,
    ADD COLUMN IF NOT EXISTS smtp_server_uuid     uuid,
    ADD COLUMN IF NOT EXISTS sent_at              timestamptz,
    ADD COLUMN IF NOT EXISTS created_at           timestamptz,
    ADD COLUMN IF NOT EXISTS internet_message_id  text COLLATE "C",
    ADD COLUMN IF NOT EXISTS tracked_via          text DEFAULT 'imported',
    ADD COLUMN IF NOT EXISTS learned_id           text,
    ADD COLUMN IF NOT EXISTS set_aside_message_id text;
ALTER TABLE azure_message_tracking
    ALTER COLUMN azure_message_id DROP NOT NULL,
    ALTER COLUMN subscriber_id    DROP NOT NULL,
    ALTER COLUMN sent_at          SET DEFAULT now(),
    ALTER COLUMN created_at       SET DEFAULT now(),
    ALTER COLUMN tracked_via      DROP DEFAULT;

-- name: trigger
-- The replaced system's mailer may go on inserting while we take over, and after. It knows nothing of a unique
-- internet_message_id: it may write '' for "unknown" in every row, or the same id twice, and must not fail for it.
-- So its ids are brought into our spelling as they come, and one that is taken, or is none, is set aside; the row stays,
-- to be found by its azure_message_id. Only rows that do not say who tracked them pay for this: never ours.
CREATE OR REPLACE FUNCTION attribution_foreign_tracking() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    given text := NEW.internet_message_id;
BEGIN
    IF given IS NULL THEN
        RETURN NEW;
    END IF;
    NEW.internet_message_id := attribution_message_id(given);
    IF NEW.internet_message_id IS NULL
       OR EXISTS (SELECT FROM azure_message_tracking WHERE internet_message_id = NEW.internet_message_id) THEN
        NEW.internet_message_id := NULL;
        NEW.set_aside_message_id := nullif(btrim(given), '');
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS attribution_foreign_tracking ON azure_message_tracking;
CREATE TRIGGER attribution_foreign_tracking BEFORE INSERT ON azure_message_tracking FOR EACH ROW
    WHEN (NEW.tracked_via IS NULL)
    EXECUTE FUNCTION attribution_foreign_tracking();

-- name: normalise
-- One spelling for the ids of old rows. What cannot be a Message-ID is set aside; an empty one is none.
UPDATE azure_message_tracking
   SET internet_message_id = attribution_message_id(internet_message_id),
       set_aside_message_id = CASE WHEN attribution_message_id(internet_message_id) IS NULL
                                   THEN nullif(btrim(internet_message_id), '') ELSE set_aside_message_id END
 WHERE id > %(after)s AND id <= %(upto)s
   AND internet_message_id IS DISTINCT FROM attribution_message_id(internet_message_id)

-- name: invalid
-- Rows whose id was set aside because it is none.
SELECT id FROM azure_message_tracking
 WHERE set_aside_message_id IS NOT NULL AND attribution_message_id(set_aside_message_id) IS NULL
 ORDER BY id

-- name: set_duplicates_aside
-- The rule for an id that several rows claim:
--   they agree on campaign and subscriber: the earliest keeps it, the others' is set aside;
--   they disagree: nobody can tell whose event it would be, so none keeps it.
-- A row whose id was set aside before still has its say: otherwise a third row, inserted since, would get an id that is
-- known to be ambiguous.
WITH claimed AS (
    SELECT coalesce(internet_message_id, set_aside_message_id) AS claim,
           array_agg(id ORDER BY id) AS rows,
           array_agg(DISTINCT campaign_id) AS campaigns,
           min(id) FILTER (WHERE internet_message_id IS NOT NULL) AS earliest,
           count(internet_message_id) AS holders,
           count(DISTINCT (campaign_id, subscriber_id)) = 1 AS agree
      FROM azure_message_tracking
     WHERE internet_message_id IS NOT NULL OR set_aside_message_id IS NOT NULL
     GROUP BY 1 HAVING count(*) > 1
), duplicate AS (
    SELECT * FROM claimed WHERE holders > CASE WHEN agree THEN 1 ELSE 0 END ORDER BY earliest LIMIT 10000
), set_aside AS (
    UPDATE azure_message_tracking AS t
       SET set_aside_message_id = t.internet_message_id, internet_message_id = NULL
      FROM duplicate AS d
     WHERE t.internet_message_id = d.claim AND NOT (d.agree AND t.id = d.earliest)
)
SELECT rows, campaigns, CASE WHEN agree THEN earliest END AS keeper FROM duplicate ORDER BY earliest
