-- listmonk's tables. A row of ours in campaign_views or link_clicks has the id of its event, negated; listmonk's own rows,
-- the native ones, have positive ids. {results} is one of the two; {link_id} its column, or a constant where it has none.

-- name: find_tables
-- Another mailer may have tables of these names; listmonk's have these columns.
SELECT wanted.name
  FROM (VALUES ('campaigns', ARRAY['id integer', 'uuid uuid']),
               ('subscribers', ARRAY['id integer', 'uuid uuid']),
               ('campaign_views', ARRAY['id bigint', 'campaign_id integer', 'subscriber_id integer',
                                        'created_at timestamp with time zone']),
               ('links', ARRAY['id integer', 'uuid uuid', 'url text']),
               ('link_clicks', ARRAY['id bigint', 'campaign_id integer', 'link_id integer', 'subscriber_id integer',
                                     'created_at timestamp with time zone']),
               ('bounces', ARRAY['subscriber_id integer', 'campaign_id integer', 'type bounce_type', 'source text',
                                 'meta jsonb', 'created_at timestamp with time zone']),
               ('settings', ARRAY['key text', 'value jsonb'])) AS wanted (name, columns)
 WHERE wanted.columns <@ ARRAY(SELECT attname || ' ' || format_type(atttypid, NULL)
                                 FROM pg_attribute
                                WHERE attrelid = to_regclass(wanted.name) AND attnum > 0 AND NOT attisdropped);

-- name: read_settings
-- The switches that are on.
SELECT key
  FROM settings
 WHERE key IN ('privacy.individual_tracking', 'privacy.disable_tracking') AND value = CAST('true' AS jsonb);

-- name: count_marks
SELECT count(*) FROM attribution_native_marks;

-- name: count_views
-- A view whose campaign is gone, which its foreign key forbids unless listmonk came after us, is left for explain_missing.
-- Campaign and reader are looked up by their keys: as joins, the planner compares each view with every campaign.
INSERT INTO campaign_views (id, campaign_id, subscriber_id, created_at)
SELECT -e.id, e.campaign_id,
       CASE WHEN :individual THEN (SELECT s.id FROM subscribers AS s WHERE s.id = e.subscriber_id) END, e.event_timestamp
  FROM azure_engagement_events AS e
 WHERE e.id = ANY(CAST(:ids AS bigint[])) AND e.engagement_type = 'view' AND e.uncounted IS NULL
   AND (SELECT c.id FROM campaigns AS c WHERE c.id = e.campaign_id) IS NOT NULL;

-- name: find_clicks
SELECT e.id, e.engagement_context AS url
  FROM azure_engagement_events AS e
 WHERE e.id = ANY(CAST(:ids AS bigint[])) AND e.engagement_type = 'click' AND e.uncounted IS NULL;

-- name: count_clicks
INSERT INTO link_clicks (id, campaign_id, link_id, subscriber_id, created_at)
SELECT -e.id, e.campaign_id, u.link_id,
       CASE WHEN :individual THEN (SELECT s.id FROM subscribers AS s WHERE s.id = e.subscriber_id) END, e.event_timestamp
  FROM unnest(CAST(:ids AS bigint[]), CAST(:link_ids AS integer[])) AS u (id, link_id)
  JOIN azure_engagement_events AS e ON e.id = u.id
 WHERE (SELECT c.id FROM campaigns AS c WHERE c.id = e.campaign_id) IS NOT NULL;

-- name: find_readers
SELECT uuid FROM subscribers WHERE uuid = ANY(CAST(:uuids AS uuid[]));

-- name: find_links_by_uuid
SELECT uuid, id, url FROM links WHERE uuid = ANY(CAST(:uuids AS uuid[]));

-- name: find_links_by_url
SELECT url, id FROM links WHERE url = ANY(CAST(:urls AS text[]));

-- name: add_links
-- In the order of their URLs, so that two batches adding the same links wait for each other and never deadlock.
INSERT INTO links (uuid, url)
SELECT gen_random_uuid(), url FROM unnest(CAST(:urls AS text[])) AS u (url) ORDER BY url COLLATE "C"
ON CONFLICT (url) DO NOTHING
RETURNING url, id;

-- name: count_bounces
INSERT INTO bounces (subscriber_id, campaign_id, type, source, meta, created_at)
SELECT s.id, c.id, CAST(e.bounce_type AS bounce_type), 'azure',
       jsonb_build_object('event_row', e.id, 'event_id', e.event_id, 'status', e.status, 'reason', e.status_reason),
       e.event_timestamp
  FROM azure_delivery_events AS e
  JOIN subscribers AS s ON s.id = e.subscriber_id
  LEFT JOIN campaigns AS c ON c.id = e.campaign_id
 WHERE e.id = ANY(CAST(:ids AS bigint[])) AND e.bounce_type IS NOT NULL;

-- name: leave_uncounted
UPDATE azure_engagement_events
   SET uncounted = :reason
 WHERE id = ANY(CAST(:ids AS bigint[])) AND engagement_type IN ('view', 'click') AND uncounted IS NULL;

-- name: explain_missing
-- What has no row although nothing forbade it: its campaign is not in listmonk.
UPDATE azure_engagement_events AS e
   SET uncounted = 'campaign_deleted'
 WHERE e.id = ANY(CAST(:ids AS bigint[])) AND e.engagement_type IN ('view', 'click') AND e.uncounted IS NULL
   AND NOT EXISTS (SELECT FROM campaigns AS c WHERE c.id = e.campaign_id);

-- name: note_disagreements
-- The message says one campaign or reader, the clicked link another. The message's word stands; both are kept.
INSERT INTO attribution_incidents (kind, subject_id, details)
SELECT 'keys_disagree', e.id,
       jsonb_build_object(
           'message', jsonb_build_object('campaign_id', e.campaign_id, 'subscriber_id', e.subscriber_id),
           'link', jsonb_build_object('campaign_id', e.link_campaign_id, 'subscriber_id', e.link_subscriber_id))
  FROM azure_engagement_events AS e
 WHERE e.id = ANY(CAST(:ids AS bigint[]))
   AND e.matched_by IN ('internet_message_id', 'azure_message_id', 'delivery_report', 'header')
   AND (e.link_campaign_id <> e.campaign_id OR e.link_subscriber_id <> e.subscriber_id)
 ORDER BY e.id
ON CONFLICT (kind, subject_id) DO NOTHING;

-- name: note_late_disagreements
-- The same for clicks that their link attributed before their message was tracked, by either of its ids ({message_id}).
INSERT INTO attribution_incidents (kind, subject_id, details)
SELECT 'keys_disagree', e.id,
       jsonb_build_object(
           'message', jsonb_build_object('campaign_id', t.campaign_id, 'subscriber_id', t.subscriber_id),
           'link', jsonb_build_object('campaign_id', e.link_campaign_id, 'subscriber_id', e.link_subscriber_id))
  FROM azure_engagement_events AS e
  JOIN azure_message_tracking AS t ON t.{message_id} = e.{message_id}
 WHERE e.matched_by = 'link'
   AND e.{message_id} = ANY(ARRAY(SELECT CAST(string_to_table(:message_ids, E'\n') AS {message_id_type})))
   AND (t.campaign_id <> e.campaign_id OR t.subscriber_id <> e.subscriber_id)
 ORDER BY e.id
ON CONFLICT (kind, subject_id) DO NOTHING;
