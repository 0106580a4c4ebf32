-- What has been kept for long enough. Each removes the oldest of its kind, a few at a time, so that no transaction is long;
-- SKIP LOCKED: two purges share the rows, and neither waits for whoever is using one.

-- name: purge_expired
-- {events} is one of the two event tables. Whoever releases an event at this moment has it locked, and it is attributed.
DELETE FROM {events}
 WHERE id IN (SELECT id FROM {events}
               WHERE state <> 'attributed' AND state = 'expired' AND expired_at < :older_than
               ORDER BY id LIMIT :limit
                 FOR UPDATE SKIP LOCKED);

-- name: purge_quarantine
DELETE FROM attribution_quarantine
 WHERE id IN (SELECT id FROM attribution_quarantine
               WHERE created_at < :older_than
               ORDER BY id LIMIT :limit
                 FOR UPDATE SKIP LOCKED);

-- name: purge_webhooks
-- Not the one that was answered 410: it keeps everything else from being sent until an operator has seen to that.
DELETE FROM attribution_webhooks
 WHERE id IN (SELECT id FROM attribution_webhooks
               WHERE state = 'given_up' AND failure IS DISTINCT FROM 'gone'
                 AND coalesce(last_attempt_at, created_at) < :older_than
               ORDER BY id LIMIT :limit
                 FOR UPDATE SKIP LOCKED);

-- name: purge_journal
-- Of runs that are over. What is running may go on, and needs its journal for that.
DELETE FROM attribution_journal
 WHERE id IN (SELECT j.id
                FROM attribution_runs AS r
                JOIN attribution_journal AS j ON j.run_id = r.id
               WHERE r.state <> 'running' AND r.finished_at < :older_than
               ORDER BY j.id LIMIT :limit
                 FOR UPDATE OF j SKIP LOCKED);

-- name: purge_erased
DELETE FROM attribution_erased
 WHERE key IN (SELECT key FROM attribution_erased
                WHERE erased_at < :older_than
                ORDER BY key LIMIT :limit
                  FOR UPDATE SKIP LOCKED);

-- name: close_campaigns
-- Campaigns in which nothing has happened since, and everything of which has been counted: their numbers are final. Who does
-- not know of it yet is found out when this has committed: until then, others begin that cannot see it.
INSERT INTO attribution_closed_campaigns (campaign_id, closed_by)
SELECT quiet.campaign_id, 9223372036854775807
  FROM (SELECT k.campaign_id
          FROM attribution_campaign_counts AS k
         WHERE NOT EXISTS (SELECT FROM attribution_closed_campaigns AS c WHERE c.campaign_id = k.campaign_id)
         GROUP BY k.campaign_id
        HAVING (max(k.last_at) < :older_than) IS NOT FALSE) AS quiet
 WHERE NOT EXISTS (SELECT FROM attribution_count_changes AS n WHERE n.campaign_id = quiet.campaign_id)
   AND NOT EXISTS (SELECT FROM azure_message_tracking AS t
                    WHERE t.sent_at >= :older_than AND t.campaign_id = quiet.campaign_id)
   AND NOT EXISTS (SELECT FROM azure_message_tracking AS t
                    WHERE t.sent_at IS NULL AND t.created_at >= :older_than AND t.campaign_id = quiet.campaign_id)
 ORDER BY quiet.campaign_id
 LIMIT :limit
ON CONFLICT (campaign_id) DO NOTHING;
