-- The triggers of 0003 that say what a statement changes in the counts, with one thing more: what is taken away from a closed
-- campaign changes nothing, for its numbers are to outlive its rows. Nothing of this is on the way of an insert.

CREATE OR REPLACE FUNCTION attribution_is_open(campaign_id int) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NOT EXISTS (SELECT FROM attribution_closed_campaigns AS c WHERE c.campaign_id = attribution_is_open.campaign_id);

CREATE OR REPLACE FUNCTION attribution_messages_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    me bigint := CAST(CAST(pg_current_xact_id() AS text) AS bigint);
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO attribution_count_changes (source, campaign_id, fact, times, waited, recount, changed_by)
        SELECT 'messages', campaign_id, attribution_message_fact(internet_message_id), count(*), 0, false, me
          FROM new_rows GROUP BY 2, 3;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO attribution_count_changes (source, campaign_id, fact, times, waited, recount, changed_by)
        SELECT 'messages', campaign_id, attribution_message_fact(internet_message_id), -count(*), 0, false, me
          FROM old_rows WHERE attribution_is_open(campaign_id) GROUP BY 2, 3;
    ELSE
        INSERT INTO attribution_count_changes (source, campaign_id, fact, times, waited, recount, changed_by)
        SELECT 'messages', campaign_id, fact, sum(sign), 0, false, me
          FROM (SELECT campaign_id, attribution_message_fact(internet_message_id) AS fact, 1 AS sign FROM new_rows
                UNION ALL
                SELECT campaign_id, attribution_message_fact(internet_message_id), -1 FROM old_rows) AS changed
         GROUP BY campaign_id, fact HAVING sum(sign) <> 0;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION attribution_deliveries_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    me bigint := CAST(CAST(pg_current_xact_id() AS text) AS bigint);
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO attribution_count_changes (
            source, campaign_id, fact, times, waited, first_at, last_at, recount, changed_by)
        SELECT 'deliveries', campaign_id, attribution_report_fact(bounce_type, status), count(*),
               count(*) FILTER (WHERE attributed_at > created_at), min(event_timestamp), max(event_timestamp), false, me
          FROM new_rows WHERE state = 'attributed' GROUP BY 2, 3;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO attribution_count_changes (source, campaign_id, times, waited, recount, changed_by)
        SELECT DISTINCT 'deliveries', campaign_id, 0, 0, true, me FROM old_rows
         WHERE state = 'attributed' AND attribution_is_open(campaign_id);
    ELSE
        WITH changed AS MATERIALIZED (
            SELECT id, campaign_id, fact, waited, event_timestamp, sum(sign) AS sign
              FROM (SELECT id, campaign_id, attribution_report_fact(bounce_type, status) AS fact,
                           (attributed_at > created_at) IS TRUE AS waited, event_timestamp, 1 AS sign
                      FROM new_rows WHERE state = 'attributed'
                    UNION ALL
                    SELECT id, campaign_id, attribution_report_fact(bounce_type, status),
                           (attributed_at > created_at) IS TRUE, event_timestamp, -1
                      FROM old_rows WHERE state = 'attributed') AS both_states
             GROUP BY 1, 2, 3, 4, 5 HAVING sum(sign) <> 0
        ), moved AS (
            -- Gone from their campaign, or of another time: its first or last event may have been this one.
            SELECT min(campaign_id) FILTER (WHERE sign < 0) AS campaign_id FROM changed GROUP BY id
            HAVING min(campaign_id) FILTER (WHERE sign < 0) IS NOT NULL
               AND ((min(campaign_id) FILTER (WHERE sign < 0), min(event_timestamp) FILTER (WHERE sign < 0))
                    IS DISTINCT FROM
                    (min(campaign_id) FILTER (WHERE sign > 0), min(event_timestamp) FILTER (WHERE sign > 0)))
        )
        INSERT INTO attribution_count_changes (
            source, campaign_id, fact, times, waited, first_at, last_at, recount, changed_by)
        SELECT 'deliveries', campaign_id, fact, sum(sign), coalesce(sum(sign) FILTER (WHERE waited), 0),
               min(event_timestamp) FILTER (WHERE sign > 0), max(event_timestamp) FILTER (WHERE sign > 0), false, me
          FROM changed GROUP BY campaign_id, fact
        UNION ALL
        SELECT DISTINCT 'deliveries', campaign_id, NULL, 0, 0, CAST(NULL AS timestamptz), CAST(NULL AS timestamptz), true, me
          FROM moved WHERE attribution_is_open(campaign_id);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION attribution_engagements_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    me bigint := CAST(CAST(pg_current_xact_id() AS text) AS bigint);
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO attribution_count_changes (
            source, campaign_id, fact, times, waited, first_at, last_at, row_ids, recount, changed_by)
        SELECT 'engagements', campaign_id, fact, count(*), count(*) FILTER (WHERE waited),
               min(event_timestamp), max(event_timestamp),
               CASE WHEN fact IN ('open', 'click') THEN array_agg(id) END, false, me
          FROM (SELECT id, campaign_id, attribution_act_fact(engagement_type, uncounted) AS fact,
                       attributed_at > created_at AS waited, event_timestamp
                  FROM new_rows WHERE state = 'attributed') AS inserted
         GROUP BY campaign_id, fact;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO attribution_count_changes (source, campaign_id, times, waited, recount, changed_by)
        SELECT DISTINCT 'engagements', campaign_id, 0, 0, true, me FROM old_rows
         WHERE state = 'attributed' AND attribution_is_open(campaign_id);
    ELSE
        WITH changed AS MATERIALIZED (
            SELECT id, campaign_id, fact, person, waited, event_timestamp, sum(sign) AS sign
              FROM (SELECT id, campaign_id, attribution_act_fact(engagement_type, uncounted) AS fact,
                           attribution_person(subscriber_id, internet_message_id, azure_message_id) AS person,
                           (attributed_at > created_at) IS TRUE AS waited, event_timestamp, 1 AS sign
                      FROM new_rows WHERE state = 'attributed'
                    UNION ALL
                    SELECT id, campaign_id, attribution_act_fact(engagement_type, uncounted),
                           attribution_person(subscriber_id, internet_message_id, azure_message_id),
                           (attributed_at > created_at) IS TRUE, event_timestamp, -1
                      FROM old_rows WHERE state = 'attributed') AS both_states
             GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(sign) <> 0
        ), moved AS (
            -- As above; and the reader may have been counted, unless this transaction itself has attributed the event:
            -- then nobody has counted it yet, and whoever does finds it as it is now.
            SELECT min(campaign_id) FILTER (WHERE sign < 0) AS campaign_id FROM changed GROUP BY id
            HAVING min(campaign_id) FILTER (WHERE sign < 0) IS NOT NULL
               AND ((min(campaign_id) FILTER (WHERE sign < 0), min(event_timestamp) FILTER (WHERE sign < 0))
                    IS DISTINCT FROM
                    (min(campaign_id) FILTER (WHERE sign > 0), min(event_timestamp) FILTER (WHERE sign > 0))
                    OR (min(fact) FILTER (WHERE sign < 0) IN ('open', 'click')
                        AND id NOT IN (SELECT unnest(row_ids) FROM attribution_count_changes
                                        WHERE changed_by = me AND source = 'engagements' AND row_ids IS NOT NULL)))
        )
        INSERT INTO attribution_count_changes (
            source, campaign_id, fact, times, waited, first_at, last_at, row_ids, recount, changed_by)
        SELECT 'engagements', campaign_id, fact, sum(sign), coalesce(sum(sign) FILTER (WHERE waited), 0),
               min(event_timestamp) FILTER (WHERE sign > 0), max(event_timestamp) FILTER (WHERE sign > 0),
               array_agg(id) FILTER (WHERE sign > 0 AND fact IN ('open', 'click')), false, me
          FROM changed GROUP BY campaign_id, fact
        UNION ALL
        SELECT DISTINCT 'engagements', campaign_id, NULL, 0, 0, CAST(NULL AS timestamptz), CAST(NULL AS timestamptz),
               CAST(NULL AS bigint[]), true, me
          FROM moved WHERE attribution_is_open(campaign_id);
    END IF;
    RETURN NULL;
END $$;

-- Rows are gone without a word of which: all that was counted of them is to be counted again.
CREATE OR REPLACE FUNCTION attribution_rows_truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO attribution_count_changes (source, campaign_id, times, waited, recount, changed_by)
    SELECT TG_ARGV[0], campaign_id, 0, 0, true, CAST(CAST(pg_current_xact_id() AS text) AS bigint)
      FROM (SELECT campaign_id FROM attribution_campaign_counts WHERE source = TG_ARGV[0]
            UNION
            SELECT campaign_id FROM attribution_count_changes WHERE source = TG_ARGV[0]) AS counted
     WHERE attribution_is_open(campaign_id);
    RETURN NULL;
END $$;

-- Whatever the session of whoever changes a row has set, the names above mean our tables, and none of its temporary ones.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['messages_changed', 'deliveries_changed', 'engagements_changed', 'rows_truncated'] LOOP
        EXECUTE format('ALTER FUNCTION attribution_%s() SET search_path = %I, pg_temp', name, current_schema());
    END LOOP;
END $$;

-- A session keeps the plan that it made when no changes were left, and reading them all was cheap. Later there may be
-- millions.
ALTER FUNCTION attribution_engagements_changed() SET enable_seqscan = off;
