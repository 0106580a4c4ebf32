-- The results of each campaign, the same numbers for every mailer. docs/results.md says what each column counts.
--
-- What was sent, and every event that is attributed, is first counted by itself, and the counts are then put side by
-- side: joining sends to events would count each send once for every event. A campaign is listed if either side knows it.
-- Each of the three counts has the campaign among what it groups by, so that a condition on campaign_id reaches the
-- tables, whatever its form; through a FULL JOIN only `=` would.
CREATE OR REPLACE VIEW campaign_stats AS
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
    SELECT campaign_id,
           CASE WHEN internet_message_id IS NULL THEN 'sent, id unknown' ELSE 'sent' END AS fact,
           count(*) AS times,
           CAST(NULL AS bigint) AS people,
           CAST(NULL AS bigint) AS waited,
           CAST(NULL AS timestamptz) AS first_at,
           CAST(NULL AS timestamptz) AS last_at
      FROM azure_message_tracking
     GROUP BY campaign_id, fact
    UNION ALL
    SELECT campaign_id,
           CASE WHEN bounce_type IS NOT NULL THEN bounce_type WHEN status = 'Delivered' THEN 'delivered' END AS fact,
           count(*),
           NULL,
           -- In the statement that wrote the row, attributed_at is created_at to the microsecond.
           count(*) FILTER (WHERE attributed_at > created_at),
           min(event_timestamp),
           max(event_timestamp)
      FROM azure_delivery_events
     WHERE state = 'attributed'
     GROUP BY campaign_id, fact
    UNION ALL
    SELECT campaign_id,
           -- An act counts where it has a row of its own, or listmonk's native row of the same act instead.
           CASE WHEN uncounted = 'unsubscribe_link' THEN 'unsubscribe'
                WHEN coalesce(uncounted, 'native') <> 'native' THEN NULL
                WHEN lower(engagement_type) = 'view' THEN 'open'
                WHEN lower(engagement_type) = 'click' THEN 'click' END AS fact,
           count(*),
           -- Whoever it was: a subscriber, or where none is known, the readers of this one mail.
           count(DISTINCT coalesce(CAST(subscriber_id AS text), internet_message_id, CAST(azure_message_id AS text))),
           count(*) FILTER (WHERE attributed_at > created_at),
           min(event_timestamp),
           max(event_timestamp)
      FROM azure_engagement_events
     WHERE state = 'attributed'
     GROUP BY campaign_id, fact
  ) AS facts
 GROUP BY campaign_id;
