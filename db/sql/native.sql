-- listmonk's native views and clicks beside ours. {results} is campaign_views or link_clicks, {link_id} the latter's column
-- (a constant for views), {engagement_type} what the rows are of. Native rows have positive ids, ours the negated ids of
-- their events; one whose event is gone with its subscriber is nobody's to match.
--
-- Rows of a named reader are found by the reader. Nameless ones have no such index; they are found by their id, which rises
-- with the time at which a row was written.

-- name: oldest_of_ours
SELECT min(created_at) FROM {results} WHERE id = ANY(CAST(:ids AS bigint[]));

-- name: newest_native
SELECT max(id) FROM {results} WHERE id > 0;

-- name: latest_at
-- When the latest of a few rows from an id on happened. Of several, because one may have been given any time.
SELECT max(created_at) AS latest
  FROM (SELECT id, CASE WHEN isfinite(created_at) THEN created_at END AS created_at
          FROM {results} WHERE id >= :id AND id > 0 ORDER BY id LIMIT 50) AS rows;

-- name: latest_event_at
SELECT max(created_at) AS latest
  FROM (SELECT id, created_at FROM azure_engagement_events WHERE id >= :id ORDER BY id LIMIT 50) AS rows;

-- name: newest_event
SELECT max(id) FROM azure_engagement_events;

-- name: find_ours
-- The acts that rows of ours count.
SELECT e.id, r.campaign_id, coalesce(e.subscriber_id, e.link_subscriber_id) AS subscriber_id,
       {link_id} AS link_id, r.created_at
  FROM {results} AS r
  JOIN azure_engagement_events AS e ON e.id = -r.id
 WHERE r.id = ANY(CAST(:ids AS bigint[]));

-- name: find_ours_of_readers
-- Reader by reader, which OFFSET 0 insists on: given as `= ANY`, readers would be looked up in a BRIN index, which is read
-- through for each of them; joined freely, the table is read whole, or stretch by stretch of time, again for each reader.
SELECT e.id, r.campaign_id, e.reader_id AS subscriber_id, {link_id} AS link_id, r.created_at
  FROM unnest(CAST(:subscribers AS integer[])) AS reader (id)
 CROSS JOIN LATERAL (
       SELECT e.id, coalesce(e.subscriber_id, e.link_subscriber_id) AS reader_id
         FROM azure_engagement_events AS e
        WHERE e.subscriber_id = reader.id AND e.engagement_type = '{engagement_type}'
          AND e.campaign_id = ANY(CAST(:campaigns AS integer[])) AND e.event_timestamp <@ CAST(:spans AS tstzmultirange)
       OFFSET 0) AS e
  JOIN {results} AS r ON r.id = -e.id;

-- name: find_ours_since
SELECT e.id, r.campaign_id, coalesce(e.subscriber_id, e.link_subscriber_id) AS subscriber_id,
       {link_id} AS link_id, r.created_at
  FROM azure_engagement_events AS e
  JOIN {results} AS r ON r.id = -e.id
 WHERE e.id >= :floor AND e.engagement_type = '{engagement_type}'
   AND e.campaign_id = ANY(CAST(:campaigns AS integer[])) AND e.event_timestamp <@ CAST(:spans AS tstzmultirange);

-- name: find_native_of_readers
-- Native rows, each with the event it counts already, if any.
SELECT n.id, n.campaign_id, n.subscriber_id, {link_id} AS link_id, n.created_at,
       e.id AS event_id, e.event_timestamp, coalesce(e.subscriber_id, e.link_subscriber_id) AS event_subscriber_id
  FROM {results} AS n
  LEFT JOIN azure_engagement_events AS e ON e.engagement_type = '{engagement_type}' AND e.native_id = n.id
 WHERE n.subscriber_id = ANY(CAST(:subscribers AS integer[])) AND n.id > 0
   AND n.campaign_id = ANY(CAST(:campaigns AS integer[])) AND n.created_at <@ CAST(:spans AS tstzmultirange);

-- name: find_nameless_native
SELECT n.id, n.campaign_id, n.subscriber_id, {link_id} AS link_id, n.created_at,
       e.id AS event_id, e.event_timestamp, coalesce(e.subscriber_id, e.link_subscriber_id) AS event_subscriber_id
  FROM {results} AS n
  LEFT JOIN azure_engagement_events AS e ON e.engagement_type = '{engagement_type}' AND e.native_id = n.id
 WHERE n.id >= :floor AND n.id > 0 AND n.subscriber_id IS NULL
   AND n.campaign_id = ANY(CAST(:campaigns AS integer[])) AND n.created_at <@ CAST(:spans AS tstzmultirange);

-- name: one_at_a_time
-- Held to the end of the transaction by whoever lets native rows count events.
SELECT pg_advisory_xact_lock(hashtext('attribution native rows'));

-- name: keep_campaigns
-- listmonk deletes a campaign's views before its events, we change events before views: so the campaign comes first.
SELECT id FROM campaigns WHERE id = ANY(CAST(:campaigns AS integer[])) ORDER BY id FOR KEY SHARE;

-- name: keep_subscribers
SELECT id FROM subscribers WHERE id = ANY(CAST(:subscribers AS integer[])) ORDER BY id FOR KEY SHARE;

-- name: let_go
-- Events whose native row goes to another, or changes hands: for a moment no two may have the same.
UPDATE azure_engagement_events SET uncounted = NULL, native_id = NULL WHERE id = ANY(CAST(:ids AS bigint[]));

-- name: count_natively
UPDATE azure_engagement_events AS e
   SET uncounted = 'native', native_id = m.native_id
  FROM unnest(CAST(:ids AS bigint[]), CAST(:native_ids AS bigint[])) AS m (id, native_id)
 WHERE e.id = m.id;

-- name: count_again
-- Events that a native row counts no longer, for it is another's act: they have a row of ours again.
INSERT INTO {results} (id, campaign_id, {link_column} subscriber_id, created_at)
SELECT -e.id, e.campaign_id, {link_value} CASE WHEN :individual THEN e.subscriber_id END, e.event_timestamp
  FROM unnest(CAST(:ids AS bigint[]), CAST(:link_ids AS integer[])) AS u (id, link_id)
  JOIN azure_engagement_events AS e ON e.id = u.id;

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
-- Rows up to pending_id are all there, or never will be, once the transactions that could have been writing them have ended:
-- those older than pending_xid. (A transaction has no number yet between drawing its id and writing its row, hence the
-- minute.) Whoever reads rows after this statement reads all of those.
SELECT seen_id, pending_id,
       pending_at < clock_timestamp() - interval '1 minute'
       AND pending_xid <= CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) AS all_there
  FROM attribution_native_marks
 WHERE engagement_type = '{engagement_type}'
   FOR UPDATE SKIP LOCKED;

-- name: list_native
-- Native rows between two ids, the lowest first.
SELECT id, campaign_id, subscriber_id, {link_id} AS link_id, created_at
  FROM {results}
 WHERE id > :after AND id <= :upto AND id > 0 AND isfinite(created_at)
 ORDER BY id
 LIMIT :limit;

-- name: list_newest_native
SELECT id, campaign_id, subscriber_id, {link_id} AS link_id, created_at
  FROM {results}
 WHERE id > :after AND id > 0 AND isfinite(created_at)
 ORDER BY id DESC
 LIMIT :limit;

-- name: newest_id
-- The last id drawn, committed or not.
SELECT coalesce(pg_sequence_last_value(CAST(pg_get_serial_sequence('{results}', 'id') AS regclass)),
                (SELECT max(id) FROM {results}), 0);

-- name: move_mark
UPDATE attribution_native_marks SET seen_id = :seen_id WHERE engagement_type = '{engagement_type}';

-- name: set_pending
UPDATE attribution_native_marks
   SET pending_id = greatest(pending_id, :newest_id), pending_at = clock_timestamp(),
       pending_xid = CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)
 WHERE engagement_type = '{engagement_type}';
