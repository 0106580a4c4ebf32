-- Count everything once, in one snapshot: the changes that it sees are of rows that it sees. Others may go on meanwhile;
-- what they change is added later. The lock comes first: a snapshot taken before it might be of before another's work.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
LOCK TABLE attribution_campaign_counts IN SHARE UPDATE EXCLUSIVE MODE;
-- Once, and for two sorts of millions of rows.
SET LOCAL work_mem = '256MB';
DELETE FROM attribution_count_changes;
DELETE FROM attribution_campaign_counts;
DELETE FROM attribution_campaign_people;
INSERT INTO attribution_campaign_people (campaign_id, fact, person)
SELECT DISTINCT campaign_id, fact, person
  FROM (SELECT campaign_id, attribution_act_fact(engagement_type, uncounted) AS fact,
               attribution_person(subscriber_id, internet_message_id, azure_message_id) AS person
          FROM azure_engagement_events WHERE state = 'attributed') AS acts
 WHERE fact IN ('open', 'click') AND person IS NOT NULL
 ORDER BY campaign_id, fact, person;
INSERT INTO attribution_campaign_counts SELECT * FROM attribution_counts_by_rows;
