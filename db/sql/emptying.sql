-- The rows of closed campaigns go, a few in a transaction. SKIP LOCKED: two purges share them, and neither waits for whoever is
-- using one.

-- name: note_who_may_not_know
-- Every transaction below this number has begun to write before the closing could be seen, and none above it.
UPDATE attribution_closed_campaigns
   SET closed_by = CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)
 WHERE closed_by = 9223372036854775807;

-- name: find_closed
-- A closed campaign whose rows may go. Whoever may not have known that it is closed has ended (a day, for a database that was
-- restored counts its transactions anew), and nothing is left to be counted of it: a recount needs the rows. A late act is
-- counted like any other, and its row goes when it is as old.
SELECT c.campaign_id
  FROM attribution_closed_campaigns AS c
 WHERE (c.closed_by <= CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)
        OR c.closed_at < now() - interval '1 day')
   AND NOT EXISTS (SELECT FROM attribution_count_changes AS n WHERE n.campaign_id = c.campaign_id)
   AND (c.emptied_at IS NULL
        OR EXISTS (SELECT FROM attribution_campaign_counts AS k
                    WHERE k.campaign_id = c.campaign_id AND k.last_at > c.emptied_at - CAST(:age AS interval)
                      AND k.last_at < :older_than))
 ORDER BY c.campaign_id
 LIMIT 1
   FOR UPDATE OF c SKIP LOCKED;

-- name: find_rows
-- {table} is one of the three that are counted, {happened_at} when what its rows tell of took place. By the table's BRIN index,
-- which no order and no limit is to talk the planner out of.
WITH old AS MATERIALIZED (
    SELECT id FROM {table} WHERE campaign_id = CAST(:campaign_id AS integer) AND {happened_at} < :older_than
)
SELECT id FROM old LIMIT :looked;

-- name: purge_closed
-- Unless the row has become another campaign's since it was found.
DELETE FROM {table}
 WHERE id IN (SELECT id FROM {table}
               WHERE id = ANY(CAST(:ids AS bigint[]))
                 AND campaign_id = CAST(:campaign_id AS integer) AND {happened_at} < :older_than
               ORDER BY id
                 FOR UPDATE SKIP LOCKED)
RETURNING id;

-- name: purge_incidents
DELETE FROM attribution_incidents WHERE kind = :kind AND subject_id = ANY(CAST(:subject_ids AS bigint[]));

-- name: forget_people
-- Their number stays. A reader who comes back after that is counted once more.
DELETE FROM attribution_campaign_people
 WHERE (campaign_id, fact, person) IN (SELECT campaign_id, fact, person FROM attribution_campaign_people
                                        WHERE campaign_id = CAST(:campaign_id AS integer)
                                        ORDER BY campaign_id, fact, person LIMIT :limit
                                          FOR UPDATE SKIP LOCKED);

-- name: mark_emptied
UPDATE attribution_closed_campaigns SET emptied_at = now() WHERE campaign_id = CAST(:campaign_id AS integer);
