-- Key 3: a delivery report carries both ids of its message, and so teaches a tracking row the one it lacks.
-- The reports are those of the batch that just came in, or ones that had waited until now; their ids come as lines.
-- A pair counts only if the others do not contradict it, and an id is never taught to a second row. Rows are locked in
-- the order of their id, as every other writer of azure_message_tracking does.

-- name: teach_internet_message_ids
WITH pairs AS (
    SELECT azure_message_id, min(internet_message_id) AS internet_message_id
      FROM unnest(string_to_array(:internet_message_ids, E'\n'),
                   CAST(string_to_array(:azure_message_ids, E'\n') AS uuid[]))
               AS pair (internet_message_id, azure_message_id)
     WHERE azure_message_id IS NOT NULL AND internet_message_id IS NOT NULL
     GROUP BY azure_message_id
    HAVING min(internet_message_id) = max(internet_message_id)
), unambiguous AS (
    SELECT min(CAST(azure_message_id AS text)) AS azure_message_id, internet_message_id
      FROM pairs GROUP BY internet_message_id HAVING count(*) = 1
), lacking AS (
    SELECT t.id, u.internet_message_id
      FROM unambiguous AS u
      JOIN azure_message_tracking AS t ON t.azure_message_id = CAST(u.azure_message_id AS uuid)
     WHERE t.internet_message_id IS NULL
       AND NOT EXISTS (SELECT FROM azure_message_tracking AS o WHERE o.internet_message_id = u.internet_message_id)
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
    SELECT internet_message_id, min(CAST(azure_message_id AS text)) AS azure_message_id
      FROM unnest(string_to_array(:internet_message_ids, E'\n'),
                   CAST(string_to_array(:azure_message_ids, E'\n') AS uuid[]))
               AS pair (internet_message_id, azure_message_id)
     WHERE azure_message_id IS NOT NULL AND internet_message_id IS NOT NULL
     GROUP BY internet_message_id
    HAVING min(CAST(azure_message_id AS text)) = max(CAST(azure_message_id AS text))
), unambiguous AS (
    SELECT min(internet_message_id) AS internet_message_id, CAST(azure_message_id AS uuid) AS azure_message_id
      FROM pairs GROUP BY azure_message_id HAVING count(*) = 1
), lacking AS (
    SELECT t.id, u.azure_message_id
      FROM unambiguous AS u
      JOIN azure_message_tracking AS t ON t.internet_message_id = u.internet_message_id
     WHERE t.azure_message_id IS NULL
       AND NOT EXISTS (SELECT FROM azure_message_tracking AS o WHERE o.azure_message_id = u.azure_message_id)
     ORDER BY t.id
       FOR UPDATE OF t
)
UPDATE azure_message_tracking AS t
   SET azure_message_id = lacking.azure_message_id, learned_id = 'azure_message_id'
  FROM lacking
 WHERE t.id = lacking.id
RETURNING t.azure_message_id;
