-- Rows of one person are removed, and his name struck out of others'. Each statement locks its rows in the order of their
-- ids, as everybody does; {table} is any of ours, or of listmonk's.

-- name: remove
DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id = ANY(CAST(:ids AS {id_type}[])) ORDER BY id FOR UPDATE);

-- name: make_nameless
-- What listmonk does when it deletes a subscriber: the row still counts, and is nobody's.
UPDATE {table} SET subscriber_id = NULL
 WHERE id IN (SELECT id FROM {table} WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE);

-- name: remove_people
DELETE FROM attribution_campaign_people AS p
 USING unnest(CAST(:campaigns AS integer[]), CAST(:facts AS text[]), CAST(:people AS uuid[])) AS gone (campaign_id, fact, person)
 WHERE p.campaign_id = gone.campaign_id AND p.fact = gone.fact AND p.person = gone.person;

-- name: lock_texts
SELECT id, {texts} FROM {table} WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE;

-- name: strike_texts
UPDATE {table} AS e SET {first} = u.first, {second} = u.second {unlink}
  FROM unnest(CAST(:ids AS bigint[]), CAST(:firsts AS text[]), CAST(:seconds AS text[])) AS u (id, first, second)
 WHERE e.id = u.id;

-- name: shorten_webhooks
-- A batch that is being sent at this moment has been read already.
UPDATE attribution_webhooks AS w
   SET engagements = ARRAY(SELECT t.event_row FROM unnest(w.engagements) WITH ORDINALITY AS t (event_row, place)
                            WHERE t.event_row <> ALL(CAST(:engagements AS bigint[])) ORDER BY t.place),
       deliveries = ARRAY(SELECT t.event_row FROM unnest(w.deliveries) WITH ORDINALITY AS t (event_row, place)
                           WHERE t.event_row <> ALL(CAST(:deliveries AS bigint[])) ORDER BY t.place)
  FROM (SELECT id FROM attribution_webhooks WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE) AS chosen
 WHERE w.id = chosen.id;

-- name: remove_empty_webhooks
DELETE FROM attribution_webhooks
 WHERE id = ANY(CAST(:ids AS uuid[])) AND engagements = '{}' AND deliveries = '{}';

-- name: lock_body
SELECT {kind} AS kind, {body} AS body FROM {table} WHERE id = :id FOR UPDATE;

-- name: keep_archived
UPDATE attribution_archive
   SET first_received_at = :first_received_at, last_received_at = :last_received_at, bodies = :bodies,
       raw_bytes = :raw_bytes, content = :content
 WHERE id = :id;

-- name: keep_quarantined
-- If what is left is in quarantine already, it is there once.
UPDATE attribution_quarantine AS q SET body = :body, content_key = :content_key
 WHERE id = :id AND NOT EXISTS (SELECT FROM attribution_quarantine AS o WHERE o.content_key = :content_key AND o.id <> :id);

-- name: keep_logged
UPDATE webhook_logs SET request_body = :body WHERE id = :id;

-- name: newest_transaction
SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint);

-- name: oldest_transaction
SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint);

-- name: asking
-- Transactions that have asked what was erased and have not ended: locks of theirs tell. Those that have written nothing
-- yet have no number that would tell of them.
SELECT DISTINCT virtualtransaction FROM pg_locks
 WHERE locktype = 'relation' AND relation = CAST('attribution_erased' AS regclass)
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND pid IS DISTINCT FROM pg_backend_pid();
