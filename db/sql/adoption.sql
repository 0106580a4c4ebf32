-- Rows of the replaced system that are events which an import brings again. {events} is one of the two event tables,
-- {kind} its column that says what happened.

-- name: has_unclaimed
-- Without the replaced system there are none: one look into the unique index.
SELECT EXISTS (SELECT FROM {events} WHERE event_key IS NULL);

-- name: adopt
-- Give rows without an event key the event that they are: the same message, kind and instant. Where several rows or
-- several events are alike (a message to many people has reports of one instant), the first row gets the first event, and
-- so on: each row one event at most, each event one row. What has been recorded already claims no row.
--
-- Rows are locked in the order of their id. A drain that records the same event meanwhile meets us at the unique key:
-- whichever is first, the other waits, and finds the event recorded.
WITH incoming AS MATERIALIZED (
    SELECT DISTINCT ON (i.event_key) i.*
      FROM unnest(CAST(:event_keys AS uuid[]), CAST(:event_ids AS text[]), CAST(:azure_message_ids AS uuid[]),
                  CAST(:internet_message_ids AS text[]), CAST(:kinds AS text[]),
                  CAST(:instants AS timestamptz[]), CAST(:received_ats AS timestamptz[]))
               AS i (event_key, event_id, azure_message_id, internet_message_id, kind, event_timestamp, received_at)
     WHERE NOT EXISTS (SELECT FROM {events} AS e WHERE e.event_key = i.event_key)
     ORDER BY i.event_key
), alike AS MATERIALIZED (
    SELECT azure_message_id, kind, event_timestamp,
           array_agg(event_key ORDER BY event_key) AS event_keys,
           array_agg(event_id ORDER BY event_key) AS event_ids,
           array_agg(internet_message_id ORDER BY event_key) AS internet_message_ids,
           array_agg(received_at ORDER BY event_key) AS received_ats
      FROM incoming
     GROUP BY azure_message_id, kind, event_timestamp
), unclaimed AS MATERIALIZED (
    SELECT e.id, alike.*
      FROM alike
      JOIN {events} AS e
        ON e.azure_message_id = alike.azure_message_id AND e.event_timestamp = alike.event_timestamp
       AND lower(e.{kind}) = alike.kind
     WHERE e.event_key IS NULL
     ORDER BY e.id
       FOR UPDATE OF e
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY azure_message_id, kind, event_timestamp ORDER BY id) AS number
      FROM unclaimed
)
UPDATE {events} AS e
   SET event_key = n.event_keys[n.number], event_id = n.event_ids[n.number], received_at = n.received_ats[n.number],
       internet_message_id = coalesce(e.internet_message_id, n.internet_message_ids[n.number])
  FROM numbered AS n
 WHERE e.id = n.id AND n.number <= cardinality(n.event_keys);

-- name: count_stored_twice
-- Rows without an event key beside one that has it and is alike: the replaced system stored some events twice.
SELECT count(*)
  FROM {events} AS e
 WHERE e.event_key IS NULL
   AND EXISTS (SELECT FROM {events} AS o
                WHERE o.event_key IS NOT NULL AND o.azure_message_id = e.azure_message_id
                  AND lower(o.{kind}) = lower(e.{kind}) AND o.event_timestamp = e.event_timestamp);

-- name: allow_hash_joins
-- Until the end of the transaction. No index finds by message the rows that have an event key: all are to be read, once.
-- The pipeline's connections join by index alone (db/engine.py), and would read them once for each row without a key.
SELECT set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true);
