-- The kept counts of campaigns. Triggers append what a statement changes in them (migrations/r0003/changes.sql); here it is
-- added. The view campaign_stats reads both, so its numbers are exact whether this has run or not.

-- name: read_one_snapshot
-- The changes that are seen are of rows that are seen.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;

-- name: become_only_counter
-- Until the end of the transaction. Taken before its snapshot: one from before another's commit would not see what that
-- has counted. It keeps nobody from reading, and nobody else writes here.
LOCK TABLE attribution_campaign_counts IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;

-- name: plan_for_few
-- Whatever the planner expects, no table is read whole, and nothing compiled, for a few campaigns.
SELECT set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true);

-- name: find_recount
-- A campaign of which something was taken away: whether that was the first event or a reader's last, its rows tell.
SELECT source, campaign_id FROM attribution_count_changes WHERE recount ORDER BY source, campaign_id LIMIT 1;

-- name: forget_counts
DELETE FROM attribution_campaign_counts WHERE source = :source AND campaign_id = CAST(:campaign_id AS int);

-- name: forget_people
DELETE FROM attribution_campaign_people WHERE campaign_id = CAST(:campaign_id AS int);

-- name: forget_changes
DELETE FROM attribution_count_changes WHERE source = :source AND campaign_id = CAST(:campaign_id AS int);

-- name: recount
INSERT INTO attribution_campaign_counts (source, campaign_id, fact, times, people, waited, first_at, last_at)
SELECT source, campaign_id, fact, times, people, waited, first_at, last_at
  FROM attribution_counts_by_rows
 WHERE source = CAST(:source AS text) AND campaign_id = CAST(:campaign_id AS int);

-- name: recount_people
INSERT INTO attribution_campaign_people (campaign_id, fact, person)
SELECT DISTINCT campaign_id, fact, person
  FROM (SELECT campaign_id, attribution_act_fact(engagement_type, uncounted) AS fact,
               attribution_person(subscriber_id, internet_message_id, azure_message_id) AS person
          FROM azure_engagement_events
         WHERE state = 'attributed' AND campaign_id = CAST(:campaign_id AS int)) AS acts
 WHERE fact IN ('open', 'click') AND person IS NOT NULL;

-- name: add_changes
-- The oldest changes that can be added. Those of a campaign that waits for a recount are dropped: it will count their rows,
-- and until then nobody reads them. Who is new among the readers of the others is decided by the rows as they are now:
-- what has become of a row since is another change, seen in this same snapshot, and if it took something away, its
-- campaign is one that waits.
WITH taken AS MATERIALIZED (
    SELECT * FROM attribution_count_changes WHERE NOT recount ORDER BY id LIMIT :limit
), additions AS MATERIALIZED (
    SELECT * FROM taken
     WHERE NOT EXISTS (SELECT FROM attribution_count_changes AS r
                        WHERE r.recount AND r.source = taken.source AND r.campaign_id = taken.campaign_id)
), people AS (
    INSERT INTO attribution_campaign_people (campaign_id, fact, person)
    SELECT DISTINCT campaign_id, fact, person
      FROM (SELECT e.campaign_id, attribution_act_fact(e.engagement_type, e.uncounted) AS fact,
                   attribution_person(e.subscriber_id, e.internet_message_id, e.azure_message_id) AS person
              FROM additions
             CROSS JOIN LATERAL unnest(additions.row_ids) AS changed (id)
              JOIN azure_engagement_events AS e ON e.id = changed.id AND e.state = 'attributed') AS acts
     WHERE fact IN ('open', 'click') AND person IS NOT NULL
     ORDER BY campaign_id, fact, person
    ON CONFLICT (campaign_id, fact, person) DO NOTHING
    RETURNING campaign_id, fact
), added AS (
    INSERT INTO attribution_campaign_counts AS k (source, campaign_id, fact, times, people, waited, first_at, last_at)
    SELECT source, campaign_id, fact, sum(times), sum(people), sum(waited), min(first_at), max(last_at)
      FROM (SELECT source, campaign_id, fact, times, 0 AS people, waited, first_at, last_at FROM additions
            UNION ALL
            SELECT 'engagements', campaign_id, fact, 0, 1, 0, NULL, NULL FROM people) AS changes
     GROUP BY source, campaign_id, fact
    ON CONFLICT (source, campaign_id, fact) DO UPDATE
       SET times = k.times + excluded.times, people = k.people + excluded.people, waited = k.waited + excluded.waited,
           first_at = least(k.first_at, excluded.first_at), last_at = greatest(k.last_at, excluded.last_at)
)
DELETE FROM attribution_count_changes WHERE id IN (SELECT id FROM taken);
