-- The kept counts of campaigns. Triggers append what a statement changes in them (migrations/r0003/changes.sql); here it is
-- added. The view campaign_stats reads both, so its numbers are exact whether this has run or not.

-- name: read_one_snapshot
-- The changes that are seen are of rows that are seen.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;

-- name: become_only_counter
-- Until the end of the transaction. Taken before its snapshot: one from before another's commit would not see what that
-- has counted. It keeps nobody from reading, and nobody else writes here.
LOCK TABLE attribution_campaign_counts IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;

-- name: take_time
-- A campaign of millions may take longer than a batch may. Whether the planner expects that or not, no table is read
-- whole, and nothing compiled, for a few campaigns.
SELECT set_config('statement_timeout', '0', true), set_config('jit', 'off', true),
       set_config('enable_seqscan', 'off', true);

-- name: list_recounts
-- Campaigns of which something was taken away: whether that was the first event or a reader's last, their rows tell.
SELECT source, array_agg(DISTINCT campaign_id) AS campaigns
  FROM attribution_count_changes
 WHERE recount
 GROUP BY source
 ORDER BY source;

-- name: forget_counts
DELETE FROM attribution_campaign_counts
 WHERE source = :source AND campaign_id = ANY(CAST(:campaigns AS int[]));

-- name: forget_people
DELETE FROM attribution_campaign_people WHERE campaign_id = ANY(CAST(:campaigns AS int[]));

-- name: forget_changes
DELETE FROM attribution_count_changes
 WHERE source = :source AND campaign_id = ANY(CAST(:campaigns AS int[]));

-- name: recount
INSERT INTO attribution_campaign_counts (source, campaign_id, fact, times, people, waited, first_at, last_at)
SELECT source, campaign_id, fact, times, people, waited, first_at, last_at
  FROM attribution_counts_by_rows
 WHERE source = CAST(:source AS text) AND campaign_id = ANY(CAST(:campaigns AS int[]));

-- name: recount_people
INSERT INTO attribution_campaign_people (campaign_id, fact, person)
SELECT DISTINCT campaign_id, fact, person
  FROM (SELECT campaign_id, attribution_act_fact(engagement_type, uncounted) AS fact,
               attribution_person(subscriber_id, internet_message_id, azure_message_id) AS person
          FROM azure_engagement_events
         WHERE state = 'attributed' AND campaign_id = ANY(CAST(:campaigns AS int[]))) AS acts
 WHERE fact IN ('open', 'click') AND person IS NOT NULL;

-- name: add_changes
-- The oldest changes, all of them additions. Who is new among their readers is decided by the rows as they are now: what
-- has become of a row since is another change, seen in this same snapshot, and if it took something away, its campaign
-- has just been recounted and none of its changes is left here.
WITH taken AS MATERIALIZED (
    SELECT * FROM attribution_count_changes ORDER BY id LIMIT :limit
), people AS (
    INSERT INTO attribution_campaign_people (campaign_id, fact, person)
    SELECT DISTINCT campaign_id, fact, person
      FROM (SELECT e.campaign_id, attribution_act_fact(e.engagement_type, e.uncounted) AS fact,
                   attribution_person(e.subscriber_id, e.internet_message_id, e.azure_message_id) AS person
              FROM taken
             CROSS JOIN LATERAL unnest(taken.row_ids) AS changed (id)
              JOIN azure_engagement_events AS e ON e.id = changed.id AND e.state = 'attributed') AS acts
     WHERE fact IN ('open', 'click') AND person IS NOT NULL
     ORDER BY campaign_id, fact, person
    ON CONFLICT (campaign_id, fact, person) DO NOTHING
    RETURNING campaign_id, fact
), added AS (
    INSERT INTO attribution_campaign_counts AS k (source, campaign_id, fact, times, people, waited, first_at, last_at)
    SELECT source, campaign_id, fact, sum(times), sum(people), sum(waited), min(first_at), max(last_at)
      FROM (SELECT source, campaign_id, fact, times, 0 AS people, waited, first_at, last_at FROM taken
            UNION ALL
            SELECT 'engagements', campaign_id, fact, 0, 1, 0, NULL, NULL FROM people) AS changes
     GROUP BY source, campaign_id, fact
    ON CONFLICT (source, campaign_id, fact) DO UPDATE
       SET times = k.times + excluded.times, people = k.people + excluded.people, waited = k.waited + excluded.waited,
           first_at = least(k.first_at, excluded.first_at), last_at = greatest(k.last_at, excluded.last_at)
)
DELETE FROM attribution_count_changes WHERE id IN (SELECT id FROM taken);
