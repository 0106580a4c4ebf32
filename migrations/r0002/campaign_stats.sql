-- The results of each campaign, the same numbers for every mailer. See docs/results.md for what each column counts.
CREATE OR REPLACE VIEW campaign_stats AS
WITH sent AS (
    SELECT campaign_id, count(*) AS sent, count(internet_message_id) AS identified
      FROM azure_message_tracking
     GROUP BY campaign_id
), reports AS (
    SELECT campaign_id,
           count(*) FILTER (WHERE status = 'Delivered') AS delivered,
           count(*) FILTER (WHERE bounce_type = 'hard') AS bounced_hard,
           count(*) FILTER (WHERE bounce_type = 'soft') AS bounced_soft,
           count(*) FILTER (WHERE bounce_type = 'complaint') AS bounced_complaint,
           count(*) FILTER (WHERE attributed_at > created_at) AS parked,
           min(event_timestamp) AS first_event_at,
           max(event_timestamp) AS last_event_at
      FROM azure_delivery_events
     WHERE state = 'attributed'
     GROUP BY campaign_id
), acts AS (
    SELECT campaign_id,
           count(*) FILTER (WHERE engagement_type = 'view') AS opens,
           count(DISTINCT person) FILTER (WHERE engagement_type = 'view') AS unique_opens,
           count(*) FILTER (WHERE interested) AS clicks,
           count(DISTINCT person) FILTER (WHERE interested) AS unique_clicks,
           count(*) FILTER (WHERE uncounted = 'unsubscribe_link') AS unsubscribe_clicks,
           count(*) FILTER (WHERE attributed_at > created_at) AS parked,
           min(event_timestamp) AS first_event_at,
           max(event_timestamp) AS last_event_at
      FROM (SELECT *,
                   engagement_type = 'click' AND uncounted IS DISTINCT FROM 'unsubscribe_link' AS interested,
                   -- Whoever it was: a subscriber, or where none is known, the reader of this one mail.
                   coalesce(CAST(subscriber_id AS text), internet_message_id, CAST(azure_message_id AS text)) AS person
              FROM azure_engagement_events
             WHERE state = 'attributed') AS attributed
     GROUP BY campaign_id
)
SELECT campaign_id,
       coalesce(sent, 0) AS sent,
       coalesce(delivered, 0) AS delivered,
       coalesce(bounced_hard, 0) AS bounced_hard,
       coalesce(bounced_soft, 0) AS bounced_soft,
       coalesce(bounced_complaint, 0) AS bounced_complaint,
       coalesce(opens, 0) AS opens,
       coalesce(unique_opens, 0) AS unique_opens,
       coalesce(clicks, 0) AS clicks,
       coalesce(unique_clicks, 0) AS unique_clicks,
       coalesce(unsubscribe_clicks, 0) AS unsubscribe_clicks,
       coalesce(reports.parked, 0) + coalesce(acts.parked, 0) AS parked,
       least(reports.first_event_at, acts.first_event_at) AS first_event_at,
       greatest(reports.last_event_at, acts.last_event_at) AS last_event_at,
       round(CAST(identified AS numeric) / nullif(sent, 0), 4) AS population_rate
  FROM sent
  FULL JOIN reports USING (campaign_id)
  FULL JOIN acts USING (campaign_id);
