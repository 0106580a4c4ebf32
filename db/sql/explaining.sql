-- Why a number is what it is, from what is stored alone. Everything here reads, and nothing here changes.
--
-- {events} is one of the two event tables, {kind} which, {own} its own columns, {results} what listmonk's tables say of an
-- event, as far as they are there. The BRIN indexes of the event tables find one message, person or campaign:
-- by an integer of their own type only, while a driver may send a small number as a smallint.

-- name: find_by_event_id
SELECT id FROM {events} WHERE event_id = :event_id ORDER BY id LIMIT :limit;

-- name: find_by_message
SELECT id
  FROM {events}
 WHERE internet_message_id = ANY(CAST(:internet_message_ids AS text[]))
    OR azure_message_id = ANY(CAST(:azure_message_ids AS uuid[]))
 ORDER BY event_timestamp, id
 LIMIT :limit;

-- name: count_of_message
SELECT count(*)
  FROM {events}
 WHERE internet_message_id = ANY(CAST(:internet_message_ids AS text[]))
    OR azure_message_id = ANY(CAST(:azure_message_ids AS uuid[]));

-- name: find_by_subscriber
SELECT id
  FROM {events}
 WHERE subscriber_id = CAST(:subscriber_id AS integer)
 ORDER BY event_timestamp DESC, id DESC
 LIMIT :limit;

-- name: count_of_subscriber
SELECT count(*) FROM {events} WHERE subscriber_id = CAST(:subscriber_id AS integer);

-- name: explain_events
-- Each event with the tracking row of its message: by the mail's own id, else by Azure's. Of the words of an SMTP server,
-- which may name people, the enhanced status code alone.
SELECT '{kind}' AS kind, e.id AS row, e.event_id, e.event_key IS NOT NULL AS has_key, e.state, e.matched_by, e.internet_message_id, e.azure_message_id,
       e.campaign_id, e.subscriber_id, e.event_timestamp, e.received_at, e.created_at, e.attributed_at,
       e.attempts, e.next_attempt_at, e.expired_at, e.expired_reason,
       e.run_id, r.kind AS run_kind, r.started_at AS run_started_at,
       t.id AS tracking_row, t.campaign_id AS tracked_campaign_id, t.subscriber_id AS tracked_subscriber_id,
       t.created_at AS tracked_at, t.sent_at, t.tracked_via, t.learned_id,
       {own},
       {results}
  FROM {events} AS e
  LEFT JOIN attribution_runs AS r ON r.id = e.run_id
  LEFT JOIN LATERAL (
      SELECT *, 1 AS weakness FROM azure_message_tracking AS m WHERE m.internet_message_id = e.internet_message_id
       UNION ALL
      SELECT *, 2 FROM azure_message_tracking AS a WHERE a.azure_message_id = e.azure_message_id
       ORDER BY weakness
       LIMIT 1) AS t ON true
 WHERE e.id = ANY(CAST(:ids AS bigint[]))
 ORDER BY e.event_timestamp, e.id;

-- name: find_incidents
SELECT kind, subject_id, details, found_at
  FROM attribution_incidents
 WHERE (kind = 'keys_disagree' AND subject_id = ANY(CAST(:engagements AS bigint[])))
    OR (kind = 'message_id_replaced' AND subject_id = ANY(CAST(:deliveries AS bigint[])))
 ORDER BY id;

-- name: find_incidents_of_message
-- What names a message as one whose id was perhaps replaced.
SELECT kind, subject_id, details, found_at
  FROM attribution_incidents
 WHERE kind = 'message_id_replaced'
   AND details -> 'candidates' @> jsonb_build_array(jsonb_build_object('message_id', CAST(:message_id AS text)))
 ORDER BY id
 LIMIT :limit;

-- name: find_changes
-- What repairs and backfills did to these rows. Campaign, subscriber and Message-ID are all that is told of a row.
SELECT j.table_name, j.row_id, j.run_id, r.kind AS run_kind, j.reason, j.changed_at, j.undone_at,
       j.was IS NULL AS added, j.became IS NULL AS removed,
       CAST(j.was ->> 'campaign_id' AS integer) AS was_campaign_id,
       CAST(j.became ->> 'campaign_id' AS integer) AS became_campaign_id,
       CAST(j.was ->> 'subscriber_id' AS integer) AS was_subscriber_id,
       CAST(j.became ->> 'subscriber_id' AS integer) AS became_subscriber_id,
       j.was ->> 'internet_message_id' AS was_message_id, j.became ->> 'internet_message_id' AS became_message_id
  FROM unnest(CAST(:table_names AS text[]), CAST(:row_ids AS bigint[])) AS wanted (table_name, row_id)
  JOIN attribution_journal AS j USING (table_name, row_id)
  JOIN attribution_runs AS r ON r.id = j.run_id
 ORDER BY j.id;

-- name: find_untold
-- Events that the user's webhook was not told of yet.
SELECT kind, event_row, 'unsent' AS state, 0 AS attempts
  FROM attribution_outbox
 WHERE (kind = 'engagement' AND event_row = ANY(CAST(:engagements AS bigint[])))
    OR (kind = 'delivery' AND event_row = ANY(CAST(:deliveries AS bigint[])))
UNION ALL
SELECT 'engagement', told.event_row, w.state, w.attempts
  FROM attribution_webhooks AS w CROSS JOIN unnest(w.engagements) AS told (event_row)
 WHERE w.engagements && CAST(:engagements AS bigint[]) AND told.event_row = ANY(CAST(:engagements AS bigint[]))
UNION ALL
SELECT 'delivery', told.event_row, w.state, w.attempts
  FROM attribution_webhooks AS w CROSS JOIN unnest(w.deliveries) AS told (event_row)
 WHERE w.deliveries && CAST(:deliveries AS bigint[]) AND told.event_row = ANY(CAST(:deliveries AS bigint[]));

-- name: find_quarantined
-- Whether the newest malformed bytes hold one of these texts: an event's id, or a Message-ID whose tracking was refused.
-- They may be of any encoding, or of none, so bytes are compared; `escape` writes those that are not ASCII as numbers.
SELECT id, kind, reason, detail, received_at
  FROM attribution_quarantine
 WHERE id > (SELECT max(id) - 20000 FROM attribution_quarantine)
   AND EXISTS (
       SELECT FROM unnest(CAST(:texts AS text[])) AS named (text)
        WHERE position(lower(encode(convert_to(named.text, 'UTF8'), 'escape')) IN lower(encode(body, 'escape'))) > 0)
 ORDER BY id DESC
 LIMIT 5;

-- name: find_tracking
SELECT id, internet_message_id, azure_message_id, campaign_id, subscriber_id, created_at, sent_at, tracked_via,
       learned_id, set_aside_message_id
  FROM azure_message_tracking
 WHERE internet_message_id = :internet_message_id OR azure_message_id = CAST(:azure_message_id AS uuid);

-- name: count_sent
SELECT tracked_via, count(*) AS messages, count(internet_message_id) AS identified
  FROM azure_message_tracking
 WHERE campaign_id = :campaign_id
 GROUP BY 1
 ORDER BY 1;

-- name: count_reports
SELECT status, bounce_type, CAST(matched_by AS text) AS matched_by, has_row, count(*) AS events,
       count(*) FILTER (WHERE attributed_at > created_at) AS parked_before
  FROM (SELECT e.*, {bounce_row} AS has_row
          FROM azure_delivery_events AS e
         WHERE e.campaign_id = CAST(:campaign_id AS integer) AND e.state = 'attributed') AS reports
 GROUP BY 1, 2, 3, 4
 ORDER BY 1, 2, 3, 4;

-- name: count_acts
SELECT engagement_type, uncounted, CAST(matched_by AS text) AS matched_by, has_row, count(*) AS events,
       count(*) FILTER (WHERE attributed_at > created_at) AS parked_before
  FROM (SELECT lower(e.engagement_type) AS engagement_type, e.uncounted, e.matched_by, e.attributed_at, e.created_at,
               {own_row} AS has_row
          FROM azure_engagement_events AS e
         WHERE e.campaign_id = CAST(:campaign_id AS integer) AND e.state = 'attributed') AS acts
 GROUP BY 1, 2, 3, 4
 ORDER BY 1, 2, 3, 4;

-- name: count_result_rows
-- listmonk's rows of a campaign: those of ours, which have the id of their event, negated, and native ones, of which some
-- count an event as well. {rows} is campaign_views or link_clicks.
SELECT count(*) FILTER (WHERE v.id < 0 AND own.id IS NOT NULL) AS own,
       count(*) FILTER (WHERE v.id < 0 AND own.id IS NULL) AS own_without_event,
       count(*) FILTER (WHERE v.id > 0 AND act.id IS NOT NULL) AS native_counting_ours,
       count(*) FILTER (WHERE v.id > 0 AND act.id IS NULL) AS native_alone,
       count(*) AS rows
  FROM {rows} AS v
  LEFT JOIN azure_engagement_events AS own
         ON own.id = -v.id AND own.campaign_id = v.campaign_id AND own.state = 'attributed'
            AND lower(own.engagement_type) = '{act}'
  LEFT JOIN azure_engagement_events AS act
         ON act.engagement_type = '{act}' AND act.native_id = v.id AND act.campaign_id = v.campaign_id
            AND act.state = 'attributed'
 WHERE v.campaign_id = :campaign_id;

-- name: count_bounce_rows
SELECT count(*) FILTER (WHERE b.meta ? 'event_row') AS own, count(*) FILTER (WHERE NOT b.meta ? 'event_row') AS others
  FROM bounces AS b
 WHERE b.campaign_id = :campaign_id;

-- name: count_incidents
SELECT kind, count(*) AS incidents
  FROM attribution_incidents
 WHERE (kind = 'keys_disagree'
        AND (details -> 'message' ->> 'campaign_id' = CAST(CAST(:campaign_id AS integer) AS text)
             OR details -> 'link' ->> 'campaign_id' = CAST(CAST(:campaign_id AS integer) AS text)))
    OR (kind = 'message_id_replaced'
        AND details -> 'candidates' @> jsonb_build_array(jsonb_build_object('campaign_id', CAST(:campaign_id AS integer))))
 GROUP BY kind
 ORDER BY kind;

-- name: count_repairs
-- Rows that repairs brought to this campaign and took from it, by run and table.
SELECT j.run_id, r.kind AS run_kind, j.table_name, j.undone_at IS NOT NULL AS undone,
       count(*) FILTER (WHERE became IS DISTINCT FROM was AND became = :campaign_id) AS brought,
       count(*) FILTER (WHERE became IS DISTINCT FROM was AND was = :campaign_id) AS taken
  FROM (SELECT run_id, table_name, undone_at, CAST(was ->> 'campaign_id' AS integer) AS was,
               CAST(became ->> 'campaign_id' AS integer) AS became
          FROM attribution_journal) AS j
  JOIN attribution_runs AS r ON r.id = j.run_id
 WHERE j.became IS DISTINCT FROM j.was AND (j.became = :campaign_id OR j.was = :campaign_id)
 GROUP BY 1, 2, 3, 4
 ORDER BY 1, 3, 4;
