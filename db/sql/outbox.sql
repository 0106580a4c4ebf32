-- The outbox: attributed events on their way to the user's webhook. A webhook here is one batch of them, by their rows.

-- name: enqueue
-- Part of the transaction that attributes the events: they are told if and only if it commits. The rows come as lines of
-- one text, which costs the driver nothing, where a list costs it microseconds a row.
INSERT INTO attribution_outbox (kind, event_row)
SELECT 'engagement', CAST(string_to_table(:engagements, E'\n') AS bigint)
UNION ALL
SELECT 'delivery', CAST(string_to_table(:deliveries, E'\n') AS bigint);

-- name: become_only_sender
-- A session's lock, gone with the session. It keeps a slow endpoint from taking up every task slot; that a batch is sent
-- by one sender at a time rests on the lease.
SELECT pg_try_advisory_lock(hashtext('attribution webhook sender'));

-- name: cease_to_be_only_sender
SELECT pg_advisory_unlock(hashtext('attribution webhook sender'));

-- name: lease_due
-- Take the batch that has been due for longest. Two senders: whoever locks the row first leases it; the other skips the
-- locked row, and, once that transaction has committed, finds the row leased. An endpoint that answered 410 Gone wants
-- nothing at all until an operator has seen to that.
UPDATE attribution_webhooks AS w
   SET leased_until = now() + CAST(:lease AS interval), attempts = least(w.attempts + 1, 32767), last_attempt_at = now()
  FROM (SELECT id FROM attribution_webhooks
         WHERE state = 'waiting' AND next_attempt_at <= now() AND (leased_until IS NULL OR leased_until <= now())
           AND NOT EXISTS (SELECT FROM attribution_webhooks WHERE state = 'given_up' AND failure = 'gone')
         ORDER BY next_attempt_at
         LIMIT 1
           FOR UPDATE SKIP LOCKED) AS due
 WHERE w.id = due.id
RETURNING w.id, w.created_at, w.attempts, w.leased_until;

-- name: cut_and_lease
-- Cut the oldest unsent events into a batch, leased from birth. SKIP LOCKED: two senders cut different events. While the
-- other side is away only one new batch in :pause tries its luck; the rest waits uncut, and spends no attempts.
WITH unsent AS (
    SELECT id FROM attribution_outbox
     WHERE NOT EXISTS (SELECT FROM attribution_webhooks
                        WHERE (state = 'given_up' AND failure = 'gone')
                           OR (state = 'waiting' AND failure = 'away'
                               AND last_attempt_at > now() - CAST(:pause AS interval)))
     ORDER BY id
     LIMIT :batch
       FOR UPDATE SKIP LOCKED
), cut AS (
    DELETE FROM attribution_outbox AS o USING unsent WHERE o.id = unsent.id
    RETURNING o.id, o.kind, o.event_row
)
INSERT INTO attribution_webhooks (id, engagements, deliveries, attempts, leased_until, last_attempt_at)
SELECT gen_random_uuid(),
       coalesce(array_agg(event_row ORDER BY id) FILTER (WHERE kind = 'engagement'), '{}'),
       coalesce(array_agg(event_row ORDER BY id) FILTER (WHERE kind = 'delivery'), '{}'),
       1, now() + CAST(:lease AS interval), now()
  FROM cut
HAVING count(*) > 0
RETURNING id, created_at, attempts, leased_until;

-- name: load_engagements
-- What is told of each event. Rows of the replaced system have no event key; theirs is made from the row. Nothing here
-- that SMTP servers wrote, which may hold addresses.
SELECT coalesce(e.event_key, CAST(md5('azure_engagement_events ' || e.id) AS uuid)) AS event_key, e.event_id,
       'engagement' AS kind, e.campaign_id, e.subscriber_id, e.internet_message_id, e.azure_message_id,
       e.event_timestamp AS occurred_at, e.received_at, e.attributed_at, e.matched_by, e.engagement_type AS type,
       e.engagement_context AS url, e.user_agent, e.uncounted
  FROM attribution_webhooks AS w
 CROSS JOIN unnest(w.engagements) AS told (event_row)
  JOIN azure_engagement_events AS e ON e.id = told.event_row AND e.state = 'attributed'
 WHERE w.id = :id;

-- name: load_deliveries
SELECT coalesce(e.event_key, CAST(md5('azure_delivery_events ' || e.id) AS uuid)) AS event_key, e.event_id,
       'delivery' AS kind, e.campaign_id, e.subscriber_id, e.internet_message_id, e.azure_message_id,
       e.event_timestamp AS occurred_at, e.received_at, e.attributed_at, e.matched_by, e.status, e.bounce_type
  FROM attribution_webhooks AS w
 CROSS JOIN unnest(w.deliveries) AS told (event_row)
  JOIN azure_delivery_events AS e ON e.id = told.event_row AND e.state = 'attributed'
 WHERE w.id = :id;

-- name: remove
-- Taken by the other side, whoever holds the lease by now; or of no event that is still there.
DELETE FROM attribution_webhooks WHERE id = :id;

-- name: bring_forward
-- The other side has just answered, so it is back: what found it away need not wait for hours. An attempt each five
-- minutes at most, or a batch that is itself the trouble would use up its attempts in seconds. SKIP LOCKED: a row that
-- is locked is being dealt with.
UPDATE attribution_webhooks AS w
   SET failure = NULL, next_attempt_at = least(w.next_attempt_at, greatest(now(), w.last_attempt_at + interval '5 min'))
  FROM (SELECT id FROM attribution_webhooks
         WHERE state = 'waiting' AND failure = 'away'
         ORDER BY id
           FOR UPDATE SKIP LOCKED) AS found_away
 WHERE w.id = found_away.id;

-- name: postpone
-- Note a failed attempt: the next one after :wait seconds and up to a tenth more, so that batches which failed together
-- do not come back together; or none if :wait is NULL. Only by the holder of the lease: if it has run out, another sender
-- may be at it.
UPDATE attribution_webhooks
   SET state = CASE WHEN CAST(:wait AS float8) IS NULL THEN 'given_up' ELSE 'waiting' END,
       next_attempt_at = CASE WHEN CAST(:wait AS float8) IS NULL THEN next_attempt_at
                              ELSE now() + make_interval(secs => CAST(:wait AS float8) * (1 + 0.1 * random())) END,
       leased_until = NULL, last_attempt_at = now(), failure = :failure, last_error = :error
 WHERE id = :id AND leased_until = :leased_until;

-- name: count_unsent
SELECT count(*) AS events,
       (SELECT coalesce(d.attributed_at, e.attributed_at)
          FROM (SELECT kind, event_row FROM attribution_outbox ORDER BY id LIMIT 1) AS oldest
          LEFT JOIN azure_delivery_events AS d ON oldest.kind = 'delivery' AND d.id = oldest.event_row
          LEFT JOIN azure_engagement_events AS e ON oldest.kind = 'engagement' AND e.id = oldest.event_row) AS oldest_at
  FROM attribution_outbox;

-- name: count_webhooks
SELECT state, count(*) AS batches, sum(cardinality(engagements) + cardinality(deliveries)) AS events,
       min(created_at) AS oldest_at, coalesce(bool_or(failure = 'gone'), false) AS is_gone
  FROM attribution_webhooks
 GROUP BY state
 ORDER BY state DESC;

-- name: list_webhooks
SELECT id, state, cardinality(engagements) + cardinality(deliveries) AS events, attempts, created_at, last_attempt_at,
       next_attempt_at, coalesce(leased_until > now(), false) AS is_being_sent, last_error
  FROM attribution_webhooks
 ORDER BY created_at, id
 LIMIT :limit;

-- name: retry_now
-- Due at once, with all attempts before them. A lease stays: what is being sent is not sent beside that. NULL for :ids:
-- every one.
UPDATE attribution_webhooks AS w
   SET state = 'waiting', attempts = 0, next_attempt_at = now(), failure = NULL
  FROM (SELECT id FROM attribution_webhooks
         WHERE CAST(:ids AS uuid[]) IS NULL OR id = ANY(CAST(:ids AS uuid[]))
         ORDER BY id FOR UPDATE) AS chosen
 WHERE w.id = chosen.id;

-- name: drop
-- NULL for :ids: every one, of :state only unless that is NULL.
WITH chosen AS (
    SELECT id FROM attribution_webhooks
     WHERE (CAST(:ids AS uuid[]) IS NULL OR id = ANY(CAST(:ids AS uuid[])))
       AND (CAST(:state AS text) IS NULL OR state = :state)
     ORDER BY id FOR UPDATE
), dropped AS (
    DELETE FROM attribution_webhooks AS w USING chosen WHERE w.id = chosen.id
    RETURNING cardinality(w.engagements) + cardinality(w.deliveries) AS events
)
SELECT count(*) AS batches, coalesce(sum(events), 0) AS events FROM dropped;

-- name: drop_unsent
DELETE FROM attribution_outbox AS o
 USING (SELECT id FROM attribution_outbox ORDER BY id FOR UPDATE) AS chosen
 WHERE o.id = chosen.id;
