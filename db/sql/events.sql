-- The path of every event: parsed rows are copied into a temporary table, or passed as parameters where they are few
-- ({source} is either), then one statement writes each of them, once,
-- as attributed or as parked. {incoming}, {events} and {own_columns} name the delivery or the engagement side, {link_joins}
-- and the like what only listmonk's database has.

-- name: record_events
-- Attribute or park, in ONE statement: its one snapshot of the tracking table decides both. As two statements
-- (attribute what matches, park the rest) a message tracked between them left its events in neither.
--
-- The unique key on event_key is the only place where a duplicate is noticed: only rows RETURNED here are new. Rows come
-- in ordered by event_key, so that two drains holding the same redelivered events wait for each other and never deadlock.
--
-- The temporary table has no statistics; the engine forbids hash and merge joins, which would read all of tracking.
WITH recorded AS (
    INSERT INTO {events} (
        event_key, event_id, internet_message_id, azure_message_id, event_timestamp, received_at,
        header_campaign, header_subscriber, {own_columns}, run_id,
        campaign_id, subscriber_id, state, matched_by, attributed_at, next_attempt_at)
    SELECT
        i.event_key, i.event_id, i.internet_message_id, i.azure_message_id, i.event_timestamp, i.received_at,
        i.header_campaign, i.header_subscriber, {own_values}, :run_id,
        coalesce(m.campaign_id, a.campaign_id, i.header_campaign_id, {link_campaign_id}),
        CASE WHEN m.id IS NOT NULL THEN m.subscriber_id
             WHEN a.id IS NOT NULL THEN a.subscriber_id
             WHEN i.header_campaign_id IS NOT NULL THEN i.header_subscriber_id
             ELSE {link_subscriber_id} END,
        CASE WHEN coalesce(m.campaign_id, a.campaign_id, i.header_campaign_id, {link_campaign_id}) IS NULL
             THEN 'parked'::attribution_state ELSE 'attributed'::attribution_state END,
        CASE WHEN m.id IS NOT NULL AND m.learned_id = 'internet_message_id' THEN 'delivery_report'::attribution_key
             WHEN m.id IS NOT NULL THEN 'internet_message_id'::attribution_key
             WHEN a.id IS NOT NULL AND a.learned_id = 'azure_message_id' THEN 'delivery_report'::attribution_key
             WHEN a.id IS NOT NULL THEN 'azure_message_id'::attribution_key
             WHEN i.header_campaign_id IS NOT NULL THEN 'header'::attribution_key
             WHEN {link_campaign_id} IS NOT NULL THEN 'link'::attribution_key END,
        CASE WHEN coalesce(m.campaign_id, a.campaign_id, i.header_campaign_id, {link_campaign_id}) IS NOT NULL THEN now() END,
        CASE WHEN coalesce(m.campaign_id, a.campaign_id, i.header_campaign_id, {link_campaign_id}) IS NULL
             THEN now() + CAST(:first_wait AS interval) * (1 + :jitter * (2 * random() - 1)) END
    FROM {source}
    LEFT JOIN azure_message_tracking AS m ON m.internet_message_id = i.internet_message_id
    LEFT JOIN azure_message_tracking AS a
           ON a.azure_message_id = CASE WHEN m.id IS NULL THEN i.azure_message_id END -- no search where m was found
    {link_joins}
    ON CONFLICT (event_key) DO NOTHING
    RETURNING id, matched_by, internet_message_id, azure_message_id
)
SELECT matched_by,
       count(*) AS events,
       array_agg(id) FILTER (WHERE matched_by IS NOT NULL) AS ids,
       array_agg(internet_message_id)
           FILTER (WHERE matched_by IS NULL AND internet_message_id IS NOT NULL) AS internet_message_ids,
       array_agg(azure_message_id)
           FILTER (WHERE matched_by IS NULL AND azure_message_id IS NOT NULL) AS azure_message_ids
  FROM recorded
 GROUP BY matched_by;

-- name: count_contradictions
-- Of this batch's events that we hold already: how many say something else this time. The first wins.
SELECT count(*)
  FROM {source}
  JOIN {events} AS e USING (event_key)
 WHERE (i.internet_message_id, i.azure_message_id, i.event_timestamp, {incoming_columns})
       IS DISTINCT FROM (e.internet_message_id, e.azure_message_id, e.event_timestamp, {stored_columns});

-- name: resolve_headers
-- The rare events that carry the mailer's own headers back: turn what they name into ids, where it names anything.
UPDATE {incoming} AS i
   SET header_campaign_id = CASE WHEN header_campaign ~ '^[1-9][0-9]{0,8}$' THEN CAST(header_campaign AS integer) END,
       header_subscriber_id =
           CASE WHEN header_subscriber ~ '^[1-9][0-9]{0,8}$' THEN CAST(header_subscriber AS integer) END
 WHERE header_campaign IS NOT NULL;

-- name: resolve_listmonk_headers
-- The same in listmonk's database, where a header may carry a UUID, and where an id must exist (foreign keys).
UPDATE {incoming} AS i
   SET header_campaign_id =
           (SELECT c.id FROM campaigns AS c
             WHERE c.id = CASE WHEN i.header_campaign ~ '^[1-9][0-9]{0,8}$' THEN CAST(i.header_campaign AS integer) END
                OR c.uuid = CASE WHEN i.header_campaign ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                 THEN CAST(i.header_campaign AS uuid) END
             LIMIT 1),
       header_subscriber_id =
           (SELECT s.id FROM subscribers AS s
             WHERE s.id = CASE WHEN i.header_subscriber ~ '^[1-9][0-9]{0,8}$'
                               THEN CAST(i.header_subscriber AS integer) END
                OR s.uuid = CASE WHEN i.header_subscriber ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                 THEN CAST(i.header_subscriber AS uuid) END
             LIMIT 1)
 WHERE header_campaign IS NOT NULL;
