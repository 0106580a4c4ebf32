-- What is measured for the gauges, every few seconds, beside everything else: each reads little, by index, and locks nothing.

-- name: read_clock
SELECT extract(epoch FROM now());

-- name: count_overdue
SELECT count(*) FROM {events} WHERE state = 'parked' AND next_attempt_at < now() - CAST(:late AS interval);

-- name: count_tracked
SELECT count(*) AS messages, count(internet_message_id) AS with_id
  FROM azure_message_tracking
 WHERE sent_at > now() - CAST(:since AS interval) AND sent_at <= now();

-- name: add_up_tallies
SELECT coalesce(sum(events), 0) AS events, coalesce(sum(malformed), 0) AS malformed, coalesce(sum(unknown), 0) AS unknown,
       coalesce(sum(engagements), 0) AS engagements, coalesce(sum(without_id), 0) AS without_id
  FROM attribution_tallies
 WHERE counted_at > now() - CAST(:since AS interval) AND counted_at <= now();

-- name: count_incidents
SELECT k.kind, (SELECT count(*) FROM attribution_incidents AS i WHERE i.kind = k.kind) AS incidents
  FROM unnest(ARRAY['drift', 'id_missing', 'keys_disagree', 'message_id_replaced', 'poison']) AS k (kind);

-- name: count_acts
-- Campaigns are without number, and whoever keeps our gauges keeps each for ever: so only a few are named.
WITH acts AS (
    SELECT campaign_id,
           count(*) FILTER (WHERE lower(engagement_type) = 'view') AS views,
           count(*) FILTER (WHERE lower(engagement_type) = 'click') AS clicks
      FROM azure_engagement_events
     WHERE state = 'attributed' AND event_timestamp > now() - CAST(:since AS interval) AND event_timestamp <= now()
     GROUP BY campaign_id
), ranked AS (
    SELECT *, row_number() OVER (ORDER BY views + clicks DESC, campaign_id) <= :campaigns AS named FROM acts
)
SELECT CASE WHEN named THEN campaign_id END AS campaign_id,
       CAST(sum(views) AS bigint) AS views,
       CAST(sum(clicks) AS bigint) AS clicks
  FROM ranked
 GROUP BY 1
 ORDER BY 1;

-- name: archive_bytes
SELECT pg_total_relation_size('attribution_archive');
