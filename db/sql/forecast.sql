-- How long events waited, by spans of age (db/survival.py). {events} is one of the two event tables.
--
-- The index {events}_waited holds the rows that ever waited, by the instant at which they were parked, and no others: an
-- event that is attributed as it is written costs it nothing. Nothing is counted along the way, so nothing can be lost.

-- name: count_waits
-- Of the events parked in the :window before now, the newest :limit: in which span of age they were matched, or were seen
-- waiting last. An expired event still waits, for its message revives it; one whose campaign was deleted does not.
--
-- Only waits of our own count. Those brought by a run came late by nature; so did those that a backfill or a repair has
-- matched, which are in the journal; and the replaced system's have no received_at, or were matched by nothing of ours.
SELECT width_bucket(
           CAST(extract(epoch FROM CASE WHEN w.state = 'attributed' THEN w.attributed_at
                                        WHEN w.state = 'expired' AND w.expired_reason = 'deleted' THEN w.expired_at
                                        ELSE now() END - w.created_at) AS float8),
           CAST(:edges AS float8[])) AS span,
       w.state = 'attributed' AS matched,
       w.created_at > now() - CAST(:lately AS interval) AS lately,
       count(*) AS events
  FROM (SELECT e.id, e.state, e.created_at, e.attributed_at, e.expired_at, e.expired_reason
          FROM {events} AS e
         WHERE (e.state <> 'attributed' OR e.attributed_at > e.created_at)
           AND e.created_at > now() - CAST(:window AS interval)
           AND e.run_id IS NULL AND e.received_at IS NOT NULL
           AND e.matched_by IS DISTINCT FROM 'replaced_system'
         ORDER BY e.created_at DESC
         LIMIT :limit) AS w
 WHERE NOT EXISTS (SELECT FROM attribution_journal AS j WHERE j.table_name = '{events}' AND j.row_id = w.id)
 GROUP BY span, matched, lately;

-- name: count_parked
-- The events that wait now, by the span of their age, and whether they are our own.
SELECT width_bucket(CAST(extract(epoch FROM now() - coalesce(created_at, event_timestamp)) AS float8),
                    CAST(:edges AS float8[])) AS span,
       run_id IS NULL AND received_at IS NOT NULL AS ours,
       count(*) AS events
  FROM {events}
 WHERE state = 'parked'
 GROUP BY span, ours;

-- name: list_older
-- Events that have waited for :age or longer, oldest first.
SELECT id, event_id, state, internet_message_id, azure_message_id, created_at, attempts, next_attempt_at, expired_at,
       expired_reason
  FROM {events}
 WHERE state <> 'attributed' AND state = 'parked'
   AND created_at <= now() - CAST(:age AS interval)
   AND run_id IS NULL AND received_at IS NOT NULL
 ORDER BY created_at, id
 LIMIT :limit;
