-- Key 3: a delivery report carries both ids of its message, and so teaches a tracking row the one it lacks.
-- The reports are those of the batch that just came in, or ones that had waited until now; their ids come as lines.
-- A pair counts only if the others do not contradict it, and an id is never taught to a second row. Rows are locked in
-- the order of their id, as every other writer of azure_message_tracking does.
--
-- A report that comes again and names other ids than the first time teaches nothing, for the first wins. That is looked up
-- only for the rows that would be taught (hence t in the comparison: with the pair alone PostgreSQL would look it up for
-- every pair). Of several that say the same, one is looked up. What had waited says no event key: it is what is stored.

-- name: teach_internet_message_ids
WITH pairs AS (
    SELECT azure_message_id, min(internet_message_id) AS internet_message_id,
           min(CAST(event_key AS text)) AS event_key
      FROM unnest(string_to_array(:internet_message_ids, E'\n'),
                   CAST(string_to_array(:azure_message_ids, E'\n') AS uuid[]),
                   CAST(string_to_array(:event_keys, E'\n', '') AS uuid[]))
               AS pair (internet_message_id, azure_message_id, event_key)
     WHERE azure_message_id IS NOT NULL AND internet_message_id IS NOT NULL
     GROUP BY azure_message_id
    HAVING min(internet_message_id) = max(internet_message_id)
), unambiguous AS (
    SELECT CAST(min(CAST(azure_message_id AS text)) AS uuid) AS azure_message_id, internet_message_id,
           CAST(min(event_key) AS uuid) AS event_key
      FROM pairs GROUP BY internet_message_id HAVING count(*) = 1
), lacking AS (
    SELECT t.id, u.internet_message_id
      FROM unambiguous AS u
      JOIN azure_message_tracking AS t ON t.azure_message_id = u.azure_message_id
     WHERE t.internet_message_id IS NULL
       AND NOT EXISTS (SELECT FROM azure_message_tracking AS o WHERE o.internet_message_id = u.internet_message_id)
       AND NOT EXISTS (SELECT FROM azure_delivery_events AS e
                        WHERE e.event_key = u.event_key
                          AND (e.internet_message_id, e.azure_message_id)
                              IS DISTINCT FROM (u.internet_message_id, t.azure_message_id))
     ORDER BY t.id
       FOR UPDATE OF t
)
UPDATE azure_message_tracking AS t
   SET internet_message_id = lacking.internet_message_id, learned_id = 'internet_message_id'
  FROM lacking
 WHERE t.id = lacking.id
RETURNING t.internet_message_id;

-- name: teach_azure_message_ids
WITH pairs AS (
    SELECT internet_message_id, min(CAST(azure_message_id AS text)) AS azure_message_id,
           min(CAST(event_key AS text)) AS event_key
      FROM unnest(string_to_array(:internet_message_ids, E'\n'),
                   CAST(string_to_array(:azure_message_ids, E'\n') AS uuid[]),
                   CAST(string_to_array(:event_keys, E'\n', '') AS uuid[]))
               AS pair (internet_message_id, azure_message_id, event_key)
     WHERE azure_message_id IS NOT NULL AND internet_message_id IS NOT NULL
     GROUP BY internet_message_id
    HAVING min(CAST(azure_message_id AS text)) = max(CAST(azure_message_id AS text))
), unambiguous AS (
    SELECT min(internet_message_id) AS internet_message_id, CAST(azure_message_id AS uuid) AS azure_message_id,
           CAST(min(event_key) AS uuid) AS event_key
      FROM pairs GROUP BY azure_message_id HAVING count(*) = 1
), lacking AS (
    SELECT t.id, u.azure_message_id
      FROM unambiguous AS u
      JOIN azure_message_tracking AS t ON t.internet_message_id = u.internet_message_id
     WHERE t.azure_message_id IS NULL
       AND NOT EXISTS (SELECT FROM azure_message_tracking AS o WHERE o.azure_message_id = u.azure_message_id)
       AND NOT EXISTS (SELECT FROM azure_delivery_events AS e
                        WHERE e.event_key = u.event_key
                          AND (e.internet_message_id, e.azure_message_id)
                              IS DISTINCT FROM (t.internet_message_id, u.azure_message_id))
     ORDER BY t.id
       FOR UPDATE OF t
)
UPDATE azure_message_tracking AS t
   SET azure_message_id = lacking.azure_message_id, learned_id = 'azure_message_id'
  FROM lacking
 WHERE t.id = lacking.id
RETURNING t.azure_message_id;

-- name: find_learned
-- Rows that have learned an id, found by the other.
SELECT internet_message_id, azure_message_id, learned_id
  FROM azure_message_tracking
 WHERE internet_message_id = ANY(CAST(:internet_message_ids AS text[])) AND learned_id = 'azure_message_id'
UNION ALL
SELECT internet_message_id, azure_message_id, learned_id
  FROM azure_message_tracking
 WHERE azure_message_id = ANY(CAST(:azure_message_ids AS uuid[])) AND learned_id = 'internet_message_id';
