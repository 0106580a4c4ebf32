-- The results of each campaign, the same numbers for every mailer. docs/results.md says what each column counts.
--
-- What has been counted, and what has not been added to it yet: together they are exact at every moment, and no more rows
-- are read than have changed lately. Only a campaign of which something was taken away is counted from its rows until
-- that is made good.
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
    SELECT k.campaign_id, k.fact, k.times, k.people, k.waited, k.first_at, k.last_at
      FROM attribution_campaign_counts AS k
     WHERE NOT EXISTS (SELECT FROM attribution_count_changes AS r
                        WHERE r.recount AND r.source = k.source AND r.campaign_id = k.campaign_id)
    UNION ALL
    SELECT c.campaign_id, c.fact, c.times, 0, c.waited, c.first_at, c.last_at
      FROM attribution_count_changes AS c
     WHERE NOT c.recount
       AND NOT EXISTS (SELECT FROM attribution_count_changes AS r
                        WHERE r.recount AND r.source = c.source AND r.campaign_id = c.campaign_id)
    UNION ALL
    SELECT p.campaign_id, p.fact, 0, count(*), 0, NULL, NULL
      FROM (SELECT DISTINCT e.campaign_id, attribution_act_fact(e.engagement_type, e.uncounted) AS fact,
                   attribution_person(e.subscriber_id, e.internet_message_id, e.azure_message_id) AS person
              FROM attribution_count_changes AS c
             CROSS JOIN LATERAL unnest(c.row_ids) AS changed (id)
              JOIN azure_engagement_events AS e ON e.id = changed.id AND e.state = 'attributed'
             WHERE c.source = 'engagements') AS p
     WHERE p.fact IN ('open', 'click') AND p.person IS NOT NULL
       AND NOT EXISTS (SELECT FROM attribution_campaign_people AS k
                        WHERE k.campaign_id = p.campaign_id AND k.fact = p.fact AND k.person = p.person)
       AND NOT EXISTS (SELECT FROM attribution_count_changes AS r
                        WHERE r.recount AND r.source = 'engagements' AND r.campaign_id = p.campaign_id)
     GROUP BY p.campaign_id, p.fact
    UNION ALL
    SELECT r.campaign_id, counted.fact, counted.times, counted.people, counted.waited, counted.first_at, counted.last_at
      FROM (SELECT DISTINCT source, campaign_id FROM attribution_count_changes WHERE recount) AS r
     CROSS JOIN LATERAL (SELECT * FROM attribution_counts_by_rows AS b
                          WHERE b.source = r.source AND b.campaign_id = r.campaign_id OFFSET 0) AS counted
  ) AS facts
 GROUP BY campaign_id
HAVING sum(times) > 0;
