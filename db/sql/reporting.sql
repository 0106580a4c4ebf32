-- Results for people who ask: read only, from our own tables, the same numbers for every mailer.

-- name: read_one_snapshot
-- All that is printed together is of one moment.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: allow_pauses
-- Whoever pages through the rows may stop to read them; the engine's limit is meant for a pipeline that hangs.
SET LOCAL idle_in_transaction_session_timeout = 0;

-- name: look_up_by_index
-- For what is found by a column of the index `<table>_lookup`. The planner takes every BRIN index for one of ranges, and
-- so believes that a few random ids are everywhere in the table; it would rather read all of it. The index knows better.
-- Without an index a table is read whole as before; older servers then think that so dear that they would compile it.
SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true);

-- name: plan_as_usual
SELECT set_config(name, reset_val, true) FROM pg_settings WHERE name IN ('enable_seqscan', 'jit');

-- name: campaign_stats
-- Exact at every moment, on a replica too: what is kept, and what has changed since (db/sql/counting.sql).
SELECT *
  FROM campaign_stats
 WHERE (CAST(:campaigns AS int[]) IS NULL OR campaign_id = ANY(CAST(:campaigns AS int[])))
 ORDER BY campaign_id;

-- name: campaign_stats_since
-- Counted from the rows since a time, which their BRIN indexes find; in the words of the view attribution_counts_by_rows
-- but for the conditions on time. When a foreign row was sent may be unknown; when it was written is the next best.
SELECT campaign_id,
       CAST(coalesce(sum(times) FILTER (WHERE fact IN ('sent', 'sent, id unknown')), 0) AS bigint) AS sent,
       CAST(coalesce(sum(times) FILTER (WHERE fact = 'delivered'), 0) AS bigint) AS delivered,
       CAST(coalesce(sum(times) FILTER (WHERE fact = 'hard'), 0) AS bigint) AS bounced_hard,
       CAST(coalesce(sum(times) FILTER (WHERE fact = 'soft'), 0) AS bigint) AS bounced_soft,
       CAST(coalesce(sum(times) FILTER (WHERE fact = 'complaint'), 0) AS bigint) AS bounced_complaint,
       CAST(coalesce(sum(times) FILTER (WHERE fact = 'open'), 0) AS bigint) AS opens,
       CAST(coalesce(sum(people) FILTER (WHERE fact = 'open'), 0) AS bigint) AS unique_opens,
       CAST(coalesce(sum(times) FILTER (WHERE fact = 'click'), 0) AS bigint) AS clicks,
       CAST(coalesce(sum(people) FILTER (WHERE fact = 'click'), 0) AS bigint) AS unique_clicks,
       CAST(coalesce(sum(times) FILTER (WHERE fact = 'unsubscribe'), 0) AS bigint) AS unsubscribe_clicks,
       CAST(coalesce(sum(waited), 0) AS bigint) AS parked,
       min(first_at) AS first_event_at,
       max(last_at) AS last_event_at,
       round(coalesce(sum(times) FILTER (WHERE fact = 'sent'), 0)
             / nullif(sum(times) FILTER (WHERE fact IN ('sent', 'sent, id unknown')), 0), 4) AS population_rate
  FROM (
    SELECT campaign_id, attribution_message_fact(internet_message_id) AS fact, count(*) AS times,
           CAST(0 AS bigint) AS people, CAST(0 AS bigint) AS waited,
           CAST(NULL AS timestamptz) AS first_at, CAST(NULL AS timestamptz) AS last_at
      FROM azure_message_tracking
     WHERE sent_at >= :since OR (sent_at IS NULL AND created_at >= :since)
     GROUP BY campaign_id, fact
    UNION ALL
    SELECT campaign_id, attribution_report_fact(bounce_type, status) AS fact, count(*),
           0, count(*) FILTER (WHERE attributed_at > created_at), min(event_timestamp), max(event_timestamp)
      FROM azure_delivery_events
     WHERE state = 'attributed' AND event_timestamp >= :since
     GROUP BY campaign_id, fact
    UNION ALL
    SELECT campaign_id, attribution_act_fact(engagement_type, uncounted) AS fact, count(*),
           count(DISTINCT attribution_person(subscriber_id, internet_message_id, azure_message_id)),
           count(*) FILTER (WHERE attributed_at > created_at), min(event_timestamp), max(event_timestamp)
      FROM azure_engagement_events
     WHERE state = 'attributed' AND event_timestamp >= :since
     GROUP BY campaign_id, fact
  ) AS facts
 WHERE (CAST(:campaigns AS int[]) IS NULL OR campaign_id = ANY(CAST(:campaigns AS int[])))
 GROUP BY campaign_id
 ORDER BY campaign_id;

-- name: ids_of_message
-- Both ids of a tracked message, given either: some events carry the one, some the other.
SELECT internet_message_id, azure_message_id
  FROM azure_message_tracking
 WHERE internet_message_id = CAST(:internet_message_id AS text) OR azure_message_id = CAST(:azure_message_id AS uuid);

-- name: stream_events
-- Events of either kind, oldest first. A NULL asks for nothing, and the planner sees that it is one.
SELECT event_id, kind, status, internet_message_id, azure_message_id, campaign_id, subscriber_id, event_timestamp,
       received_at, state, matched_by, url, uncounted, bounce_type, user_agent
  FROM (
    SELECT id, event_id, internet_message_id, azure_message_id, campaign_id, subscriber_id, event_timestamp, received_at,
           state, matched_by,
           CASE lower(engagement_type) WHEN 'view' THEN 'open' ELSE lower(engagement_type) END AS kind,
           CAST(NULL AS text) AS status,
           CASE WHEN lower(engagement_type) = 'click' THEN engagement_context END AS url,
           uncounted,
           CAST(NULL AS text) AS bounce_type,
           user_agent
      FROM azure_engagement_events
    UNION ALL
    SELECT id, event_id, internet_message_id, azure_message_id, campaign_id, subscriber_id, event_timestamp, received_at,
           state, matched_by, 'delivery', status, NULL, NULL, bounce_type, NULL
      FROM azure_delivery_events
  ) AS events
 WHERE (CAST(:campaign AS int) IS NULL OR campaign_id = CAST(:campaign AS int))
   AND (CAST(:subscriber AS int) IS NULL OR subscriber_id = CAST(:subscriber AS int))
   AND (CAST(:internet_message_ids AS text[]) IS NULL
        OR internet_message_id = ANY(CAST(:internet_message_ids AS text[]))
        OR azure_message_id = ANY(CAST(:azure_message_ids AS uuid[])))
   AND (CAST(:since AS timestamptz) IS NULL OR event_timestamp >= CAST(:since AS timestamptz))
 ORDER BY event_timestamp, kind, id;

-- name: count_by_key
-- Every event, by what tied it to its message, strongest key first; then those that wait.
SELECT state, matched_by,
       CAST(sum(engagements) AS bigint) AS engagements,
       CAST(sum(deliveries) AS bigint) AS deliveries
  FROM (
    SELECT state, matched_by, count(*) AS engagements, 0 AS deliveries
      FROM azure_engagement_events
     WHERE (CAST(:since AS timestamptz) IS NULL OR event_timestamp >= CAST(:since AS timestamptz))
     GROUP BY state, matched_by
    UNION ALL
    SELECT state, matched_by, 0, count(*)
      FROM azure_delivery_events
     WHERE (CAST(:since AS timestamptz) IS NULL OR event_timestamp >= CAST(:since AS timestamptz))
     GROUP BY state, matched_by
  ) AS counted
 GROUP BY state, matched_by
 ORDER BY state, matched_by;

-- name: count_alike
-- How many engagement reports are like another one in all that Azure says of the act, but for the event's id.
SELECT CAST(coalesce(sum(alike - 1), 0) AS bigint)
  FROM (
    SELECT count(*) AS alike
      FROM azure_engagement_events
     WHERE event_id IS NOT NULL AND (internet_message_id IS NOT NULL OR azure_message_id IS NOT NULL)
       AND (CAST(:since AS timestamptz) IS NULL OR event_timestamp >= CAST(:since AS timestamptz))
     GROUP BY event_timestamp, internet_message_id, azure_message_id, engagement_type, engagement_context, user_agent
    HAVING count(*) > 1
  ) AS acts;

-- name: measure_accuracy
-- The clicks of campaign_stats, and how many of them two keys speak for that know nothing of each other: what tells
-- whose message it was, and listmonk's tracked link. `agree` is NULL where there is one key only. A click that the link
-- attributed gets its second key when its message is tracked; it alone makes us look into the tracking table.
SELECT count(*) AS clicks,
       count(agree) AS two_keys,
       count(*) FILTER (WHERE agree) AS agreeing,
       count(*) FILTER (WHERE NOT agree) AS disagreeing
  FROM (
    SELECT CASE WHEN e.matched_by IN ('internet_message_id', 'azure_message_id', 'delivery_report', 'header')
                THEN e.link_campaign_id = e.campaign_id AND (e.link_subscriber_id = e.subscriber_id) IS NOT FALSE
                WHEN e.matched_by = 'link'
                THEN coalesce(
                    (SELECT t.campaign_id = e.campaign_id AND (t.subscriber_id = e.subscriber_id) IS NOT FALSE
                       FROM azure_message_tracking AS t
                      WHERE t.internet_message_id = e.internet_message_id),
                    (SELECT t.campaign_id = e.campaign_id AND (t.subscriber_id = e.subscriber_id) IS NOT FALSE
                       FROM azure_message_tracking AS t
                      WHERE t.azure_message_id = e.azure_message_id)) END AS agree
      FROM azure_engagement_events AS e
     WHERE e.state = 'attributed' AND lower(e.engagement_type) = 'click'
       AND (e.uncounted IS NULL OR e.uncounted = 'native')
       AND (CAST(:since AS timestamptz) IS NULL OR e.event_timestamp >= CAST(:since AS timestamptz))
  ) AS clicks;

-- name: list_disagreements
-- Incidents of two keys that name different campaigns or people, newest first, with both sides.
SELECT i.id, i.found_at, e.event_id, e.event_timestamp, e.internet_message_id, e.azure_message_id,
       CAST(i.details #>> '{message,campaign_id}' AS int) AS message_campaign_id,
       CAST(i.details #>> '{message,subscriber_id}' AS int) AS message_subscriber_id,
       CAST(i.details #>> '{link,campaign_id}' AS int) AS link_campaign_id,
       CAST(i.details #>> '{link,subscriber_id}' AS int) AS link_subscriber_id
  FROM attribution_incidents AS i
  LEFT JOIN azure_engagement_events AS e ON e.id = i.subject_id
 WHERE i.kind = 'keys_disagree'
   AND (CAST(:since AS timestamptz) IS NULL OR e.event_timestamp >= CAST(:since AS timestamptz))
 ORDER BY i.id DESC
 LIMIT :limit;
