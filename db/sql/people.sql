-- Where a person is: rows of each table by whatever is known of him. Nothing here changes anything. Tables are read in
-- stretches of their ids, for no index knows people, and none is worth having for a question so rare.

-- name: find_subscribers
-- In listmonk's database: whoever has one of these ids or addresses.
SELECT id, CAST(uuid AS text) AS uuid, lower(email) AS email
  FROM subscribers
 WHERE id = ANY(CAST(:subscribers AS integer[])) OR lower(email) = ANY(CAST(:addresses AS text[]));

-- name: span
SELECT coalesce(min(id), 0) AS first, coalesce(max(id), 0) AS last FROM {table};

-- name: find_messages
SELECT id, internet_message_id, azure_message_id, set_aside_message_id, subscriber_id
  FROM azure_message_tracking
 WHERE id > :after AND id <= :upto
   AND (subscriber_id = ANY(CAST(:subscribers AS integer[]))
        OR internet_message_id = ANY(CAST(:internet AS text[]))
        OR azure_message_id = ANY(CAST(:azure AS uuid[]))
        OR set_aside_message_id = ANY(CAST(:internet AS text[])));

-- name: find_events
-- {table} is one of the event tables, {texts} its columns of free text, {linked} what a tracked link says. `own` are the
-- person's; the others are somebody else's and name him, or look like it by the patterns :needles.
SELECT e.id, e.event_key, e.internet_message_id, e.azure_message_id, e.subscriber_id, e.recipient,
       {linked} AS link_subscriber_id, {texts},
       (e.subscriber_id = ANY(CAST(:subscribers AS integer[]))
        OR e.recipient = ANY(CAST(:recipients AS text[]))
        OR e.header_subscriber = ANY(CAST(:named AS text[]))
        OR e.internet_message_id = ANY(CAST(:internet AS text[]))
        OR e.azure_message_id = ANY(CAST(:azure AS uuid[]))) IS TRUE AS own
  FROM {table} AS e
 WHERE e.id > :after AND e.id <= :upto
   AND (e.subscriber_id = ANY(CAST(:subscribers AS integer[]))
        OR e.recipient = ANY(CAST(:recipients AS text[]))
        OR e.header_subscriber = ANY(CAST(:named AS text[]))
        OR e.internet_message_id = ANY(CAST(:internet AS text[]))
        OR e.azure_message_id = ANY(CAST(:azure AS uuid[]))
        OR {linked} = ANY(CAST(:subscribers AS integer[]))
        OR lower(concat_ws(' ', {texts})) LIKE ANY (CAST(:needles AS text[])));

-- name: find_company
-- Who else is seen with what may be the person's: a recipient with other subscribers, a subscriber or a message with other
-- recipients, an id of Azure's with either. Then it is not his alone, and is not followed.
SELECT DISTINCT e.recipient, e.subscriber_id, e.internet_message_id, e.azure_message_id
  FROM {table} AS e
 WHERE e.id > :after AND e.id <= :upto
   AND (e.recipient = ANY(CAST(:recipients AS text[]))
        OR (e.subscriber_id = ANY(CAST(:subscribers AS integer[])) AND e.recipient IS NOT NULL)
        OR (e.internet_message_id = ANY(CAST(:internet AS text[])) AND e.recipient IS NOT NULL)
        OR e.azure_message_id = ANY(CAST(:azure AS uuid[])));

-- name: find_incidents
SELECT id FROM attribution_incidents
 WHERE (kind = 'keys_disagree' AND subject_id = ANY(CAST(:engagements AS bigint[])))
    OR (kind = 'message_id_replaced' AND subject_id = ANY(CAST(:deliveries AS bigint[])))
    OR details #>> '{message,subscriber_id}' = ANY(CAST(:named AS text[]))
    OR details #>> '{link,subscriber_id}' = ANY(CAST(:named AS text[]))
    OR EXISTS (SELECT FROM unnest(CAST(:uuids AS text[])) AS n (uuid) WHERE strpos(CAST(details AS text), n.uuid) > 0)
    OR EXISTS (SELECT FROM unnest(CAST(:internet AS text[])) AS n (message_id)
                WHERE strpos(CAST(details AS text), n.message_id) > 0)
 ORDER BY id;

-- name: find_journalled
-- `words` is what the entry says, if it only may name him.
SELECT j.id, bool_or(j.own) AS own, CASE WHEN NOT bool_or(j.own) THEN string_agg(CAST(j.of_row AS text), ' ') END AS words
  FROM (
SELECT j.id, image.of_row,
       ((j.table_name = 'azure_message_tracking' AND j.row_id = ANY(CAST(:messages AS bigint[])))
        OR (j.table_name = 'azure_delivery_events' AND j.row_id = ANY(CAST(:deliveries AS bigint[])))
        OR (j.table_name = 'azure_engagement_events' AND j.row_id = ANY(CAST(:engagements AS bigint[])))
        OR image.of_row ->> 'subscriber_id' = ANY(CAST(:named AS text[]))
        OR image.of_row ->> 'link_subscriber_id' = ANY(CAST(:named AS text[]))
        OR image.of_row ->> 'header_subscriber' = ANY(CAST(:named AS text[]))
        OR image.of_row ->> 'recipient' = ANY(CAST(:recipients AS text[]))
        OR image.of_row ->> 'internet_message_id' = ANY(CAST(:internet AS text[]))
        OR image.of_row ->> 'set_aside_message_id' = ANY(CAST(:internet AS text[]))
        OR image.of_row ->> 'azure_message_id' = ANY(CAST(:azure_texts AS text[]))) IS TRUE AS own
  FROM attribution_journal AS j
 CROSS JOIN LATERAL (VALUES (j.was), (j.became)) AS image (of_row)
 WHERE j.id > :after AND j.id <= :upto) AS j
 WHERE j.own
    OR lower(CAST(j.of_row AS text)) LIKE ANY (CAST(:needles AS text[]))
 GROUP BY j.id
 ORDER BY j.id;

-- name: find_unsent
SELECT id FROM attribution_outbox
 WHERE (kind = 'engagement' AND event_row = ANY(CAST(:engagements AS bigint[])))
    OR (kind = 'delivery' AND event_row = ANY(CAST(:deliveries AS bigint[])))
 ORDER BY id;

-- name: find_webhooks
SELECT id FROM attribution_webhooks
 WHERE engagements && CAST(:engagements AS bigint[]) OR deliveries && CAST(:deliveries AS bigint[])
 ORDER BY id;

-- name: find_people
-- Readers that are counted, by the hash that the counts know them by.
SELECT campaign_id, fact, person FROM attribution_campaign_people
 WHERE person = ANY(ARRAY(SELECT attribution_person(s, NULL, NULL) FROM unnest(CAST(:subscribers AS integer[])) AS s
                          UNION ALL
                          SELECT attribution_person(NULL, m, NULL) FROM unnest(CAST(:internet AS text[])) AS m
                          UNION ALL
                          SELECT attribution_person(NULL, NULL, a) FROM unnest(CAST(:azure AS uuid[])) AS a))
 ORDER BY campaign_id, fact, person;

-- name: find_rows_of_subscriber
-- {table} is one of listmonk's.
SELECT id FROM {table} WHERE subscriber_id = ANY(CAST(:subscribers AS integer[])) ORDER BY id;

-- name: list_bodies
-- {table} holds bodies, in {body}, and may hold large ones: the caller decides how many of them he can hold.
SELECT id, {kind} AS kind, octet_length({body}) AS body_bytes FROM {table} WHERE id > :after AND id <= :upto ORDER BY id;

-- name: read_bodies
SELECT id, {kind} AS kind, {body} AS body FROM {table} WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id;

-- name: read_rows
SELECT id, to_jsonb(t) {less} AS columns FROM {table} AS t WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id;

-- name: read_webhooks
SELECT id, to_jsonb(t) AS columns FROM attribution_webhooks AS t WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id;
