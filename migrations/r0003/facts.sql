-- What a row says of its campaign. The same words wherever it is counted.

CREATE OR REPLACE FUNCTION attribution_message_fact(internet_message_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN internet_message_id IS NULL THEN 'sent, id unknown' ELSE 'sent' END;

CREATE OR REPLACE FUNCTION attribution_report_fact(bounce_type text, status text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN bounce_type IS NOT NULL THEN bounce_type WHEN status = 'Delivered' THEN 'delivered' ELSE 'other' END;

-- An act counts where it has a row of its own, or listmonk's native row of the same act instead.
CREATE OR REPLACE FUNCTION attribution_act_fact(engagement_type text, uncounted text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN uncounted = 'unsubscribe_link' THEN 'unsubscribe'
                WHEN coalesce(uncounted, 'native') <> 'native' THEN 'other'
                WHEN lower(engagement_type) = 'view' THEN 'open'
                WHEN lower(engagement_type) = 'click' THEN 'click'
                ELSE 'other' END;

-- Whoever it was: a subscriber, or where none is known, the readers of this one mail.
CREATE OR REPLACE FUNCTION attribution_person(subscriber_id int, internet_message_id text, azure_message_id uuid)
    RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CAST(md5(coalesce(CAST(subscriber_id AS text), internet_message_id, CAST(azure_message_id AS text))) AS uuid);

-- Every campaign counted from its rows, however many those are. Each part has the campaign among what it groups by, so
-- that a condition on it reaches the table.
CREATE OR REPLACE VIEW attribution_counts_by_rows AS
SELECT 'messages' AS source, campaign_id, attribution_message_fact(internet_message_id) AS fact, count(*) AS times,
       CAST(0 AS bigint) AS people, CAST(0 AS bigint) AS waited,
       CAST(NULL AS timestamptz) AS first_at, CAST(NULL AS timestamptz) AS last_at
  FROM azure_message_tracking
 GROUP BY campaign_id, fact
UNION ALL
-- In the statement that wrote the row, attributed_at is created_at to the microsecond.
SELECT 'deliveries', campaign_id, attribution_report_fact(bounce_type, status) AS fact, count(*),
       0, count(*) FILTER (WHERE attributed_at > created_at), min(event_timestamp), max(event_timestamp)
  FROM azure_delivery_events
 WHERE state = 'attributed'
 GROUP BY campaign_id, fact
UNION ALL
SELECT 'engagements', campaign_id, attribution_act_fact(engagement_type, uncounted) AS fact, count(*),
       count(DISTINCT attribution_person(subscriber_id, internet_message_id, azure_message_id)),
       count(*) FILTER (WHERE attributed_at > created_at), min(event_timestamp), max(event_timestamp)
  FROM azure_engagement_events
 WHERE state = 'attributed'
 GROUP BY campaign_id, fact;
