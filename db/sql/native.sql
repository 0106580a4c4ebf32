-- listmonk's native views and clicks beside ours. {results} is campaign_views or link_clicks, {link_id} the latter's column
-- (a constant for views), {engagement_type} what the rows are of. Native rows have positive ids, ours negative ones.
--
-- Both kinds are read from their newest row backwards, along the primary key: listmonk's tables have no index by time and
-- person, and what is looked for is nearly always recent.

-- name: glance
-- The newest rows below an id: how far down they reach, and when the latest of them happened.
SELECT min(id) AS lowest_id, max(created_at) AS latest, count(*) AS rows
  FROM (SELECT id, created_at FROM {results} WHERE id > 0 AND id < :below ORDER BY id DESC LIMIT :limit) AS newest;

-- name: glance_ours
SELECT max(id) AS highest_id, max(created_at) AS latest, count(*) AS rows
  FROM (SELECT id, created_at FROM {results} WHERE id < 0 AND id > :above ORDER BY id LIMIT :limit) AS newest;

-- name: oldest_of_ours
SELECT min(created_at) FROM {results} WHERE id = ANY(CAST(:ids AS bigint[]));

-- name: find_ours
SELECT -id AS id, campaign_id, subscriber_id, {link_id} AS link_id, created_at
  FROM {results}
 WHERE id = ANY(CAST(:ids AS bigint[]));

-- name: find_ours_near
SELECT -id AS id, campaign_id, subscriber_id, {link_id} AS link_id, created_at
  FROM {results}
 WHERE id < 0 AND id <= :ceiling AND campaign_id = ANY(CAST(:campaigns AS integer[]))
   AND created_at <@ CAST(:spans AS tstzmultirange);

-- name: find_native_near
-- Native rows, each with the event it counts already, if any.
SELECT n.id, n.campaign_id, n.subscriber_id, {link_id} AS link_id, n.created_at,
       e.id AS held_by, e.event_timestamp AS held_at
  FROM {results} AS n
  LEFT JOIN azure_engagement_events AS e ON e.engagement_type = '{engagement_type}' AND e.native_id = n.id
 WHERE n.id > 0 AND n.id >= :floor AND n.campaign_id = ANY(CAST(:campaigns AS integer[]))
   AND n.created_at <@ CAST(:spans AS tstzmultirange);

-- name: find_native_since
SELECT id, campaign_id, subscriber_id, {link_id} AS link_id, created_at FROM {results} WHERE id > :seen_id;

-- name: one_at_a_time
-- Held to the end of the transaction by whoever lets native rows count events.
SELECT pg_advisory_xact_lock(hashtext('attribution native rows'));

-- name: let_go
UPDATE azure_engagement_events SET native_id = NULL WHERE id = ANY(CAST(:ids AS bigint[]));

-- name: count_natively
UPDATE azure_engagement_events AS e
   SET uncounted = 'native', native_id = m.native_id
  FROM unnest(CAST(:ids AS bigint[]), CAST(:native_ids AS bigint[])) AS m (id, native_id)
 WHERE e.id = m.id;

-- name: remove_ours
DELETE FROM {results} WHERE id = ANY(CAST(:ids AS bigint[]));

-- name: add_mark
-- Where to begin: a little before the newest row, for rows whose transactions are still open have lower ids.
INSERT INTO attribution_native_marks (engagement_type, seen_id, pending_id, pending_xid)
SELECT '{engagement_type}', greatest(newest - 10000, 0), newest,
       CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)
  FROM (SELECT coalesce(max(id), 0) AS newest FROM {results} WHERE id > 0) AS native
ON CONFLICT (engagement_type) DO NOTHING;

-- name: lock_mark
SELECT seen_id FROM attribution_native_marks WHERE engagement_type = '{engagement_type}' FOR UPDATE SKIP LOCKED;

-- name: move_mark
-- Rows up to pending_id have all been looked at once the transactions that could have been writing them have ended: those
-- older than pending_xid. (A transaction has no number yet between drawing its id and writing its row, hence the minute.)
-- pending_id is the last id drawn, committed or not.
UPDATE attribution_native_marks
   SET seen_id = pending_id, pending_id = greatest(pending_id, :newest_id),
       pending_xid = CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint), pending_at = clock_timestamp()
 WHERE engagement_type = '{engagement_type}'
   AND pending_at < clock_timestamp() - interval '1 minute'
   AND pending_xid <= CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint);

-- name: newest_id
SELECT coalesce(pg_sequence_last_value(CAST(pg_get_serial_sequence('{results}', 'id') AS regclass)),
                (SELECT max(id) FROM {results}), 0);
