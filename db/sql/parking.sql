-- What happens to an event after it was parked. {events} is one of the two event tables. In listmonk's database a message
-- may be tracked for a campaign or a subscriber that is not there any more; {still_there} and {deleted} tell.

-- name: release
-- Attribute what waits for messages that are tracked now, expired events included: by the Message-ID, else by Azure's id.
-- One statement for both, for its rows are locked in the order of their id, whichever names them; a row that another
-- transaction holds (a sweep, another release, an operator) is waited for and looked at again, so that it is attributed
-- exactly once.
--
-- The ids come as lines of one text, which costs the driver nothing, where a list costs it microseconds an id; and the
-- planner, which cannot count them in a subquery, looks each up in the index rather than reading the table for many.
--
-- At most :limit (NULL: all) are found by either kind of id, in whatever order, and only then locked in theirs: sorted
-- first, every piece of a million would sort the rest of the million. How many were found by one kind is told even where
-- another transaction was quicker with all of them: if it was :limit, there may be more. By Azure's id nothing is looked for
-- before all that the Message-ID names has been found, which has precedence.
WITH by_internet AS (
    SELECT e.id, t.campaign_id, t.subscriber_id,
           CASE t.learned_id WHEN 'internet_message_id' THEN 'delivery_report'::attribution_key
                             ELSE 'internet_message_id'::attribution_key END AS matched_by
      FROM {events} AS e
      JOIN azure_message_tracking AS t ON t.internet_message_id = e.internet_message_id
     WHERE e.internet_message_id = ANY(ARRAY(SELECT string_to_table(:internet_message_ids, E'\n')))
       AND e.state <> 'attributed'
       {still_there}
     LIMIT :limit
), by_azure AS (
    SELECT e.id, t.campaign_id, t.subscriber_id,
           CASE t.learned_id WHEN 'azure_message_id' THEN 'delivery_report'::attribution_key
                             ELSE 'azure_message_id'::attribution_key END AS matched_by
      FROM {events} AS e
      JOIN azure_message_tracking AS t ON t.azure_message_id = e.azure_message_id
     WHERE e.azure_message_id = ANY(ARRAY(SELECT CAST(string_to_table(:azure_message_ids, E'\n') AS uuid)))
       AND e.state <> 'attributed'
       AND coalesce((SELECT count(*) FROM by_internet) < CAST(:limit AS bigint), true)
       {still_there}
     LIMIT :limit
), found AS (
    SELECT DISTINCT ON (id) id, campaign_id, subscriber_id, matched_by
      FROM (SELECT *, 1 AS precedence FROM by_internet UNION ALL SELECT *, 2 FROM by_azure) AS by_either
     ORDER BY id, precedence
), waiting AS (
    SELECT found.*
      FROM found JOIN {events} AS e USING (id)
     WHERE e.state <> 'attributed'
     ORDER BY id
       FOR UPDATE OF e
), released AS (
    UPDATE {events} AS e
       SET state = 'attributed', campaign_id = waiting.campaign_id, subscriber_id = waiting.subscriber_id,
           matched_by = waiting.matched_by, attributed_at = clock_timestamp(), next_attempt_at = NULL
      FROM waiting
     WHERE e.id = waiting.id
    RETURNING e.id, e.internet_message_id, e.azure_message_id
)
SELECT released.*, looked_at.events AS found
  FROM (SELECT greatest((SELECT count(*) FROM by_internet), (SELECT count(*) FROM by_azure)) AS events) AS looked_at
  LEFT JOIN released ON true;

-- name: sweep
-- Try again what is due: attributed if its message is tracked by now, expired if it has waited past the deadline or
-- belongs to what listmonk has deleted, else parked until its next attempt. SKIP LOCKED: two sweeps share the work, and neither waits for a release, which settles
-- its rows by itself. :waits are the seconds before each attempt; the last one repeats.
WITH due AS (
    SELECT id, internet_message_id, azure_message_id
      FROM {events}
     WHERE state = 'parked' AND next_attempt_at <= now()
     ORDER BY next_attempt_at
     LIMIT :limit
       FOR UPDATE SKIP LOCKED
), found AS (
    SELECT due.id,
           coalesce(m.campaign_id, a.campaign_id) AS campaign_id,
           CASE WHEN m.id IS NOT NULL THEN m.subscriber_id ELSE a.subscriber_id END AS subscriber_id,
           CASE WHEN m.learned_id = 'internet_message_id' THEN 'delivery_report'::attribution_key
                WHEN m.id IS NOT NULL THEN 'internet_message_id'::attribution_key
                WHEN a.learned_id = 'azure_message_id' THEN 'delivery_report'::attribution_key
                WHEN a.id IS NOT NULL THEN 'azure_message_id'::attribution_key END AS matched_by
      FROM due
      LEFT JOIN azure_message_tracking AS m ON m.internet_message_id = due.internet_message_id
      LEFT JOIN azure_message_tracking AS a ON m.id IS NULL AND a.azure_message_id = due.azure_message_id
), looked_up AS (
    SELECT t.id,
           CASE WHEN NOT {deleted} THEN t.campaign_id END AS campaign_id,
           CASE WHEN NOT {deleted} THEN t.subscriber_id END AS subscriber_id,
           CASE WHEN NOT {deleted} THEN t.matched_by END AS matched_by,
           {deleted} AS deleted
      FROM found AS t
), swept AS (
    UPDATE {events} AS e
       SET state = CASE WHEN l.campaign_id IS NOT NULL THEN 'attributed'::attribution_state
                        WHEN l.deleted OR coalesce(e.created_at, e.event_timestamp) <= now() - CAST(:deadline AS interval) THEN 'expired'::attribution_state
                        ELSE 'parked'::attribution_state END,
           campaign_id = l.campaign_id,
           subscriber_id = l.subscriber_id,
           matched_by = l.matched_by,
           attributed_at = CASE WHEN l.campaign_id IS NOT NULL THEN clock_timestamp() END,
           attempts = least(e.attempts + 1, 32767),
           expired_at = CASE WHEN l.campaign_id IS NULL AND (l.deleted OR coalesce(e.created_at, e.event_timestamp) <= now() - CAST(:deadline AS interval)) THEN now()
                             ELSE e.expired_at END,
           expired_reason = CASE WHEN l.deleted THEN 'deleted'
                                 WHEN l.campaign_id IS NULL AND coalesce(e.created_at, e.event_timestamp) <= now() - CAST(:deadline AS interval) THEN 'deadline'
                                 ELSE e.expired_reason END,
           next_attempt_at =
               CASE WHEN l.campaign_id IS NULL AND NOT l.deleted AND NOT coalesce(e.created_at, e.event_timestamp) <= now() - CAST(:deadline AS interval)
                    THEN now() + make_interval(secs => (CAST(:waits AS float8[]))
                                     [least(e.attempts + 2, cardinality(CAST(:waits AS float8[])))]
                                     * (1 + :jitter * (2 * random() - 1))) END
      FROM looked_up AS l
     WHERE e.id = l.id
    RETURNING e.id, e.state, e.internet_message_id, e.azure_message_id
)
SELECT id, state, internet_message_id, azure_message_id FROM swept;

-- name: put_off
UPDATE {events} AS e
   SET next_attempt_at = now() + CAST(:wait AS interval)
  FROM (SELECT id FROM {events}
         WHERE state = 'parked' AND next_attempt_at <= now()
         ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS first
 WHERE e.id = first.id;

-- name: list_waiting
-- What waits, oldest first; :after is the id of the last row seen. The ids alone come first: the index that holds what waits
-- has them, while rows in order of their id may be read by the million before one is found that waits.
SELECT e.id, e.event_id, e.state, e.internet_message_id, e.azure_message_id, e.received_at, e.created_at,
       e.event_timestamp, e.attempts, e.next_attempt_at, e.expired_at, e.expired_reason
  FROM (SELECT id
          FROM {events}
         WHERE state <> 'attributed' AND state = CAST(:state AS attribution_state) AND id > :after
         ORDER BY id
         LIMIT :limit) AS first
  JOIN {events} AS e USING (id)
 ORDER BY id;

-- name: count_parked
-- Of what has expired, which may be millions, nothing is read: what is parked stands together in the index {events}_unsettled.
SELECT count(*) AS events, min(created_at) AS oldest_at FROM {events} WHERE state <> 'attributed' AND state = 'parked';

-- name: count_expired
-- No more than :most, for there may be millions, which are counted every few seconds.
SELECT count(*) AS events
  FROM (SELECT FROM {events} WHERE state <> 'attributed' AND state = 'expired' LIMIT :most) AS counted;

-- name: retry_now
-- Make waiting events due at once. An expired one is parked again for this one attempt: it is past its deadline, so the
-- sweep that finds its message still untracked expires it again. When and why an event has expired last stays on its row,
-- whatever comes of it: who is attributed after that was revived, by a release as by a sweep. NULL for :event_ids and :internet_message_id: every one.
UPDATE {events} AS e
   SET state = 'parked', next_attempt_at = now()
  FROM (SELECT id FROM {events}
         WHERE state <> 'attributed'
           AND (CAST(:event_ids AS text[]) IS NULL OR event_id = ANY(CAST(:event_ids AS text[])))
           AND (CAST(:internet_message_id AS text) IS NULL OR internet_message_id = :internet_message_id)
         ORDER BY id FOR UPDATE) AS chosen
 WHERE e.id = chosen.id;

-- name: expire_now
-- Not those whose message is tracked: the next sweep attributes them, and nobody else would revive them any more.
UPDATE {events} AS e
   SET state = 'expired', next_attempt_at = NULL, expired_at = now(), expired_reason = 'operator'
  FROM (SELECT id FROM {events} AS p
         WHERE state = 'parked'
           AND NOT EXISTS (SELECT FROM azure_message_tracking AS t WHERE t.internet_message_id = p.internet_message_id)
           AND NOT EXISTS (SELECT FROM azure_message_tracking AS t WHERE t.azure_message_id = p.azure_message_id)
           AND (CAST(:event_ids AS text[]) IS NULL OR event_id = ANY(CAST(:event_ids AS text[])))
           AND (CAST(:internet_message_id AS text) IS NULL OR p.internet_message_id = :internet_message_id)
         ORDER BY id FOR UPDATE) AS chosen
 WHERE e.id = chosen.id;
