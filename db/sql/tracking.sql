-- Who sent what: azure_message_tracking. Rows are inserted ordered by their ids. Those to be given an id are locked in one
-- order by everybody: first those that lack their Message-ID, then those that lack Azure's id, each ordered by their id.

-- name: track_messages
-- DO NOTHING on any unique key: a message tracked before stays as it is; find_refused tells what that means.
-- Rows come in ordered by their ids, so that two batches holding the same messages cannot deadlock.
-- What was sent before its campaign was closed, and a month (no retention is shorter) before its rows were purged, has been
-- counted, though the row that would tell is gone: what the trigger counts of it is taken back.
WITH tracked AS (
    INSERT INTO azure_message_tracking (
        internet_message_id, azure_message_id, campaign_id, subscriber_id, smtp_server_uuid, sent_at, tracked_via,
        recipient_domain)
    SELECT internet_message_id, azure_message_id, campaign_id, subscriber_id, smtp_server_uuid,
           coalesce(sent_at, now()), tracked_via, recipient_domain
      FROM incoming_messages
    ON CONFLICT DO NOTHING
    RETURNING campaign_id, internet_message_id, sent_at
), taken_back AS (
    INSERT INTO attribution_count_changes (source, campaign_id, fact, times, waited, recount, changed_by)
    SELECT 'messages', t.campaign_id, attribution_message_fact(t.internet_message_id), -count(*), 0, false,
           CAST(CAST(pg_current_xact_id() AS text) AS bigint)
      FROM tracked AS t
      JOIN attribution_closed_campaigns AS c
        ON c.campaign_id = t.campaign_id AND t.sent_at < coalesce(c.emptied_at, c.closed_at) - interval '30 days'
     WHERE t.sent_at < now() - interval '30 days'
     GROUP BY 2, 3
)
SELECT count(*) FROM tracked;

-- name: complete_messages
-- A message tracked before the send under one id, and again after it under both: give the row the id it lacks, if
-- everything else agrees, no other row holds that id, and no other message of the batch claims one of the two. What a
-- concurrent delivery report has taught meanwhile stands: the row is looked at again once it is locked.
WITH pairs AS (
    SELECT internet_message_id, azure_message_id, min(campaign_id) AS campaign_id, max(subscriber_id) AS subscriber_id
      FROM incoming_messages
     WHERE internet_message_id IS NOT NULL AND azure_message_id IS NOT NULL
     GROUP BY internet_message_id, azure_message_id
    HAVING min(campaign_id) = max(campaign_id) AND (min(subscriber_id) = max(subscriber_id)) IS NOT FALSE
), unambiguous AS (
    SELECT *,
           count(*) OVER (PARTITION BY internet_message_id) AS of_internet,
           count(*) OVER (PARTITION BY azure_message_id) AS of_azure
      FROM pairs
), lacking AS (
    SELECT t.id, i.internet_message_id, i.azure_message_id
      FROM unambiguous AS i
      -- Which of the two is lacking is not said by IS NULL: where the planner believes that few rows lack an id it reads
      -- all that do, for each message of the batch; of a mailer that has just changed its ways, that may be millions.
      JOIN azure_message_tracking AS t
        ON (t.internet_message_id = i.internet_message_id OR t.azure_message_id = i.azure_message_id)
       AND num_nulls(t.internet_message_id, t.azure_message_id) = 1
     WHERE i.of_internet = 1
       AND i.of_azure = 1
       AND t.campaign_id = i.campaign_id
       AND (t.subscriber_id = i.subscriber_id) IS NOT FALSE
       AND NOT EXISTS (SELECT FROM azure_message_tracking AS o
                        WHERE o.id <> t.id AND o.internet_message_id = i.internet_message_id)
       AND NOT EXISTS (SELECT FROM azure_message_tracking AS o
                        WHERE o.id <> t.id AND o.azure_message_id = i.azure_message_id)
), locked AS (
    SELECT t.id, t.internet_message_id, t.azure_message_id
      FROM azure_message_tracking AS t JOIN lacking USING (id)
     ORDER BY t.internet_message_id IS NOT NULL, t.id -- as the two queries that teach, one after the other
       FOR UPDATE OF t
)
UPDATE azure_message_tracking AS t
   SET internet_message_id = lacking.internet_message_id, azure_message_id = lacking.azure_message_id
  FROM lacking JOIN locked USING (id)
 WHERE t.id = lacking.id
   AND coalesce(locked.internet_message_id, lacking.internet_message_id) = lacking.internet_message_id
   AND coalesce(locked.azure_message_id, lacking.azure_message_id) = lacking.azure_message_id
   AND (locked.internet_message_id IS NULL OR locked.azure_message_id IS NULL);

-- name: find_refused
-- Messages of this batch that contradict what is tracked: one of their ids belongs to another campaign, to another
-- subscriber, or to a message whose other id is not theirs. They are refused; nothing is ever overwritten.
SELECT i.position
  FROM incoming_messages AS i
  JOIN azure_message_tracking AS t ON t.internet_message_id = i.internet_message_id
 WHERE t.campaign_id <> i.campaign_id
    OR t.subscriber_id <> i.subscriber_id
    OR t.azure_message_id <> i.azure_message_id
UNION
SELECT i.position
  FROM incoming_messages AS i
  JOIN azure_message_tracking AS t ON t.azure_message_id = i.azure_message_id
 WHERE t.campaign_id <> i.campaign_id
    OR t.subscriber_id <> i.subscriber_id
    OR t.internet_message_id <> i.internet_message_id
 ORDER BY position;

-- name: find_foreign
-- Rows that another program wrote straight into the table and that we have not looked at yet.
SELECT id, internet_message_id, azure_message_id
  FROM azure_message_tracking
 WHERE tracked_via IS NULL
 ORDER BY id
 LIMIT :limit;

-- name: lock_foreign
-- The same for whoever is about to change them.
SELECT id, internet_message_id, azure_message_id
  FROM azure_message_tracking
 WHERE tracked_via IS NULL
 ORDER BY id
 LIMIT :limit
   FOR UPDATE SKIP LOCKED;

-- name: respell_foreign
-- Give foreign rows our spelling of their Message-ID. Where it cannot be had (not a Message-ID, or another row has it),
-- the id is set aside: kept on the row, and never matched. A row that has no other id keeps the odd spelling, which no
-- event is ever looked up by. The rows are locked; they come in ordered by their new ids, as messages to be tracked do, so
-- that neither waits for the other's id while it holds one that the other wants.
UPDATE azure_message_tracking AS t
   SET internet_message_id = CASE WHEN taken.id IS NULL AND n.respelt IS NOT NULL THEN n.respelt
                                  WHEN t.azure_message_id IS NULL THEN t.internet_message_id END,
       set_aside_message_id = CASE WHEN taken.id IS NOT NULL OR n.respelt IS NULL THEN t.internet_message_id END
  FROM unnest(CAST(:ids AS bigint[]), CAST(:respelt AS text[])) AS n (id, respelt)
  LEFT JOIN azure_message_tracking AS taken ON taken.internet_message_id = n.respelt AND taken.id <> n.id
 WHERE t.id = n.id;

-- name: adopt_foreign
-- A row that is locked at the moment is adopted by the next sweep.
UPDATE azure_message_tracking AS t
   SET tracked_via = 'foreign'
  FROM (SELECT id FROM azure_message_tracking
         WHERE id = ANY(CAST(:ids AS bigint[])) AND tracked_via IS NULL
         ORDER BY id
           FOR UPDATE SKIP LOCKED) AS looked_at
 WHERE t.id = looked_at.id;
