-- Backfills: tracking rows get the Message-ID that the replaced system sent their mail with and did not write down.

-- name: find_proposals
-- The tracking rows that these events may be of, each with the Message-ID proposed for it: by Azure's id, if the event
-- names the one that the row has; or by the rule of the replaced system's mailer, which made up the id that the row has and
-- sent the mail with it as its Message-ID. Of the latter this event is the proof: it carries that very Message-ID.
WITH seen AS (
    SELECT DISTINCT internet_message_id, azure_message_id
      FROM unnest(CAST(:internet_message_ids AS text[]), CAST(:azure_message_ids AS uuid[]))
               AS s (internet_message_id, azure_message_id)
), proposed AS (
    SELECT t.id, seen.internet_message_id, 'azure_id' AS proof
      FROM seen JOIN azure_message_tracking AS t USING (azure_message_id)
    UNION
    SELECT t.id, own.internet_message_id, 'mailers_rule'
      FROM (SELECT DISTINCT internet_message_id,
                   CAST(substring(internet_message_id FROM '^<([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})@listmonk>$')
                        AS uuid) AS azure_message_id
              FROM seen) AS own
      JOIN azure_message_tracking AS t USING (azure_message_id)
)
SELECT p.id, p.internet_message_id AS proposed, min(p.proof) AS proof, t.internet_message_id AS held, o.id AS holder
  FROM proposed AS p
  JOIN azure_message_tracking AS t ON t.id = p.id
  LEFT JOIN azure_message_tracking AS o ON o.internet_message_id = p.internet_message_id AND o.id <> p.id
 GROUP BY p.id, p.internet_message_id, t.internet_message_id, o.id
 ORDER BY p.id, p.internet_message_id;

-- name: list_set_aside
-- Ids that belong to nobody, because several rows claimed them.
SELECT id, set_aside_message_id FROM azure_message_tracking WHERE set_aside_message_id IS NOT NULL ORDER BY id;

-- name: fill_ids
-- The rows are locked by now. learned_id stays empty: it marks what a delivery report taught beside what the mailer had
-- said, and this is what the mailer itself had sent. The journal keeps which proof there was.
UPDATE azure_message_tracking AS t
   SET internet_message_id = f.internet_message_id
  FROM unnest(CAST(:ids AS bigint[]), CAST(:internet_message_ids AS text[])) AS f (id, internet_message_id)
 WHERE t.id = f.id AND t.internet_message_id IS NULL;

-- name: find_nameless
-- Rows of the replaced system that these events may be, and that have no event key.
SELECT id FROM {events}
 WHERE event_key IS NULL AND azure_message_id = ANY(CAST(:azure_message_ids AS uuid[]))
 ORDER BY id;

-- name: name_messages
-- Azure's id names one message: a stored row whose message some event of the log names otherwise as well is of that
-- message, even where the row is a second one of an event that is stored already, and so was not told which it is.
UPDATE {events} AS e
   SET internet_message_id = named.internet_message_id
  FROM (SELECT azure_message_id, min(internet_message_id) AS internet_message_id
          FROM unnest(CAST(:internet_message_ids AS text[]), CAST(:azure_message_ids AS uuid[]))
                   AS s (internet_message_id, azure_message_id)
         WHERE azure_message_id IS NOT NULL
         GROUP BY azure_message_id
        HAVING min(internet_message_id) = max(internet_message_id)) AS named
 WHERE e.id = ANY(CAST(:ids AS bigint[])) AND e.azure_message_id = named.azure_message_id
   AND e.internet_message_id IS NULL;

-- name: find_waiting
-- Events that a release of these messages is going to attribute.
SELECT id, internet_message_id, azure_message_id FROM {events}
 WHERE state <> 'attributed' AND internet_message_id = ANY(CAST(:internet_message_ids AS text[]))
 ORDER BY id;

-- name: find_teachable
-- Tracking rows that reports among them may teach an id.
SELECT id FROM azure_message_tracking
 WHERE (internet_message_id = ANY(CAST(:internet_message_ids AS text[])) AND azure_message_id IS NULL)
    OR (azure_message_id = ANY(CAST(:azure_message_ids AS uuid[])) AND internet_message_id IS NULL)
 ORDER BY id;

-- name: find_bounces
-- The rows that count these delivery reports.
SELECT b.id
  FROM azure_delivery_events AS e
  JOIN bounces AS b ON b.subscriber_id = e.subscriber_id AND b.meta ->> 'event_row' = CAST(e.id AS text)
 WHERE e.id = ANY(CAST(:ids AS bigint[]))
 ORDER BY b.id;
