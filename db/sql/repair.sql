-- Repairs: events that are credited to another campaign or reader than their message is tracked for, and what the replaced
-- system wrote for them into listmonk's tables. {events} is one of the two event tables. {act} is what is counted in the
-- table {results}: a view, a click or a bounce; {rows} is that table as r, with whatever tells its {row_url}.

-- name: create_plan
-- One row for each event that is wrong. `unproven` says why the event stays as it is, `row_unproven` why its row does.
CREATE TEMPORARY TABLE repair_events (
    table_name text NOT NULL,
    event_id bigint NOT NULL,
    campaign_id integer NOT NULL,
    subscriber_id integer,
    true_campaign_id integer NOT NULL,
    true_subscriber_id integer,
    matched_by text NOT NULL,
    act text,
    url text NOT NULL,
    uncounted text,
    happened_at timestamptz NOT NULL,
    written_at timestamptz,
    head bigint NOT NULL,
    row_id bigint,
    row_campaign_id integer,
    row_subscriber_id integer,
    row_link_id integer,
    unproven text,
    row_unproven text,
    PRIMARY KEY (table_name, event_id)
) ON COMMIT DROP;

-- name: create_claims
CREATE TEMPORARY TABLE repair_claims (
    act text NOT NULL,
    event_id bigint NOT NULL,
    campaign_id integer NOT NULL,
    subscriber_id integer NOT NULL,
    at timestamptz NOT NULL,
    url text NOT NULL
) ON COMMIT DROP;

-- name: find_wrong
-- The message's own id is the truth, in the order of the keys. Where both of an event's ids name messages, of different
-- people, nobody can tell; and what listmonk has deleted can be credited with nothing.
INSERT INTO repair_events (
    table_name, event_id, campaign_id, subscriber_id, true_campaign_id, true_subscriber_id, matched_by, act, url,
    uncounted, happened_at, written_at, head, unproven)
SELECT '{events}', e.id, e.campaign_id, e.subscriber_id, t.campaign_id, t.subscriber_id, t.matched_by, {act_of}, {url_of},
       {uncounted_of}, e.event_timestamp, e.created_at, e.id,
       CASE WHEN (m.campaign_id, m.subscriber_id) IS DISTINCT FROM (a.campaign_id, a.subscriber_id)
                 AND m.id IS NOT NULL AND a.id IS NOT NULL THEN 'ids_disagree'
            WHEN NOT ({still_there}) THEN 'deleted' END
  FROM {events} AS e
  LEFT JOIN azure_message_tracking AS m ON m.internet_message_id = e.internet_message_id
  LEFT JOIN azure_message_tracking AS a ON a.azure_message_id = e.azure_message_id
 CROSS JOIN LATERAL (
       SELECT coalesce(m.campaign_id, a.campaign_id) AS campaign_id,
              CASE WHEN m.id IS NOT NULL THEN m.subscriber_id ELSE a.subscriber_id END AS subscriber_id,
              CASE WHEN m.learned_id = 'internet_message_id' THEN 'delivery_report'
                   WHEN m.id IS NOT NULL THEN 'internet_message_id'
                   WHEN a.learned_id = 'azure_message_id' THEN 'delivery_report'
                   ELSE 'azure_message_id' END AS matched_by) AS t
 WHERE e.state = 'attributed'
   AND t.campaign_id IS NOT NULL
   AND (e.campaign_id <> t.campaign_id
        OR (t.subscriber_id IS NOT NULL AND e.subscriber_id IS DISTINCT FROM t.subscriber_id));

-- name: analyse_plan
-- A temporary table has no statistics until somebody asks for them.
ANALYZE repair_events;

-- name: find_own_rows
-- What we have written ourselves says of which event it is.
UPDATE repair_events AS p
   SET row_id = r.id, row_campaign_id = r.campaign_id, row_subscriber_id = r.subscriber_id, row_link_id = {link_id}
  FROM {rows}
 WHERE p.act = '{act}' AND p.unproven IS NULL AND {of_event};

-- name: find_claims
-- What the replaced system has written does not. But it gave the row the instant of the event, or of the event's row, to
-- the microsecond, beside the campaign and the reader that it took it for.
INSERT INTO repair_claims (act, event_id, campaign_id, subscriber_id, at, url)
SELECT DISTINCT ON (p.event_id) '{act}', p.event_id, p.campaign_id, p.subscriber_id, r.created_at, p.url
  FROM repair_events AS p
  JOIN {rows} ON r.campaign_id = p.campaign_id AND r.subscriber_id = p.subscriber_id
             AND r.created_at IN (p.happened_at, p.written_at) AND {row_url} = p.url
 WHERE p.act = '{act}' AND p.unproven IS NULL AND p.row_id IS NULL AND p.uncounted IS NULL AND {not_ours}
 ORDER BY p.event_id, (r.created_at = p.happened_at) DESC;

-- name: pair_rows
-- Alike rows and the events that claim them pair off, one to one. Every event that could have written such a row has its
-- say, rightly credited ones and those of unknown messages, too. If there are fewer rows than claims, the claims must
-- agree on where the rows belong (one event delivered twice, counted once); otherwise nobody can tell whose row it is.
-- `head` holds together what must be repaired together.
WITH alike AS (
    SELECT DISTINCT campaign_id, subscriber_id, at, url FROM repair_claims WHERE act = '{act}'
), claimants AS (
    SELECT g.*, e.id AS event_id,
           CASE WHEN p.unproven IS NULL AND p.event_id IS NOT NULL
                THEN p.true_campaign_id || ' ' || coalesce(CAST(p.true_subscriber_id AS text), 'nobody')
                WHEN p.event_id IS NULL
                     AND (e.matched_by <> 'replaced_system'
                          OR EXISTS (SELECT FROM azure_message_tracking AS t
                                      WHERE t.internet_message_id = e.internet_message_id)
                          OR EXISTS (SELECT FROM azure_message_tracking AS t
                                      WHERE t.azure_message_id = e.azure_message_id))
                THEN e.campaign_id || ' ' || e.subscriber_id
                ELSE 'unknown ' || e.id END AS truth
      FROM alike AS g
      JOIN {events} AS e ON e.campaign_id = g.campaign_id AND e.subscriber_id = g.subscriber_id
                        AND g.at IN (e.event_timestamp, e.created_at) AND {url_of} = g.url
      LEFT JOIN repair_events AS p ON p.table_name = '{events}' AND p.event_id = e.id
     WHERE e.state = 'attributed' AND {act_of} = '{act}' AND {uncounted_of} IS NULL AND NOT {has_own_row}
), claims AS (
    SELECT *,
           count(*) OVER (PARTITION BY campaign_id, subscriber_id, at, url) AS claimed,
           min(truth) OVER (PARTITION BY campaign_id, subscriber_id, at, url)
               = max(truth) OVER (PARTITION BY campaign_id, subscriber_id, at, url) AS agreed,
           min(event_id) OVER (PARTITION BY campaign_id, subscriber_id, at, url) AS head,
           row_number() OVER (PARTITION BY campaign_id, subscriber_id, at, url ORDER BY event_id) AS number
      FROM claimants
), written AS (
    SELECT g.*, r.id, {link_id} AS link_id,
           count(*) OVER (PARTITION BY g.campaign_id, g.subscriber_id, g.at, g.url) AS there,
           row_number() OVER (PARTITION BY g.campaign_id, g.subscriber_id, g.at, g.url ORDER BY r.id) AS number
      FROM alike AS g
      JOIN {rows} ON r.campaign_id = g.campaign_id AND r.subscriber_id = g.subscriber_id
                 AND r.created_at = g.at AND {row_url} = g.url
     WHERE {not_ours}
)
UPDATE repair_events AS p
   SET head = c.head,
       row_id = CASE WHEN c.agreed OR first.there >= c.claimed THEN w.id END,
       row_campaign_id = p.campaign_id,
       row_subscriber_id = p.subscriber_id,
       row_link_id = w.link_id,
       row_unproven = CASE WHEN NOT (c.agreed OR first.there >= c.claimed) THEN 'several_claim'
                           WHEN w.id IS NULL THEN 'counted_once' END
  FROM repair_claims AS k
  JOIN claims AS c ON c.event_id = k.event_id AND c.at = k.at
  JOIN written AS first ON (first.campaign_id, first.subscriber_id, first.at, first.url, first.number)
                         = (c.campaign_id, c.subscriber_id, c.at, c.url, 1)
  LEFT JOIN written AS w ON (w.campaign_id, w.subscriber_id, w.at, w.url, w.number)
                          = (c.campaign_id, c.subscriber_id, c.at, c.url, c.number)
 WHERE k.act = '{act}' AND p.table_name = '{events}' AND p.event_id = k.event_id;

-- name: explain_rest
-- Why an event that was to be counted has no row to go with it.
UPDATE repair_events AS p
   SET row_unproven =
           CASE WHEN p.uncounted = 'native' THEN 'counted_natively'
                WHEN EXISTS (SELECT FROM {rows}
                              WHERE r.campaign_id = p.campaign_id AND r.subscriber_id = p.subscriber_id
                                AND r.created_at BETWEEN p.happened_at - CAST(:near AS interval)
                                                     AND p.happened_at + CAST(:near AS interval)) THEN 'near_row'
                ELSE 'no_row' END
 WHERE p.act = '{act}' AND p.unproven IS NULL AND p.row_id IS NULL AND p.row_unproven IS NULL
   AND coalesce(p.uncounted, 'native') = 'native';

-- name: find_native
-- Rows of listmonk's own, of the true campaign and reader, near an event whose row is about to be theirs: the act may be
-- counted there already. A row that an event claims to the microsecond is the replaced system's, and counts another act.
-- {same_reader} is either: the one that both rows name, or nobody, where listmonk names none.
SELECT p.event_id, r.campaign_id, r.subscriber_id, link.id AS link_id, p.happened_at,
       r.id AS native_id, r.created_at AS native_at
  FROM repair_events AS p
 CROSS JOIN LATERAL (SELECT {true_link_id} AS id) AS link
  JOIN {rows} ON r.campaign_id = p.true_campaign_id AND {same_reader}
             AND r.created_at BETWEEN p.happened_at - CAST(:window AS interval)
                                  AND p.happened_at + CAST(:window AS interval)
             AND {link_id} IS NOT DISTINCT FROM link.id
 WHERE p.act = '{act}' AND p.row_id IS NOT NULL AND r.id <> p.row_id AND {not_ours}
   AND NOT EXISTS (SELECT FROM {events} AS e
                    WHERE e.campaign_id = r.campaign_id AND e.subscriber_id = r.subscriber_id
                      AND r.created_at IN (e.event_timestamp, e.created_at)
                      AND {act_of} = '{act}' AND {uncounted_of} IS NULL AND e.id <> p.event_id);

-- name: read_plan
SELECT table_name, event_id, campaign_id, subscriber_id, true_campaign_id, true_subscriber_id, matched_by, act, head,
       row_id, row_campaign_id, row_subscriber_id, unproven, row_unproven
  FROM repair_events
 ORDER BY table_name, head, event_id;

-- name: count_confirmable
-- What the replaced system has guessed rightly.
SELECT count(*)
  FROM {events} AS e
  LEFT JOIN azure_message_tracking AS m ON m.internet_message_id = e.internet_message_id
  LEFT JOIN azure_message_tracking AS a ON m.id IS NULL AND a.azure_message_id = e.azure_message_id
 WHERE e.state = 'attributed' AND e.matched_by = 'replaced_system'
   AND e.campaign_id = coalesce(m.campaign_id, a.campaign_id)
   AND e.subscriber_id = coalesce(m.subscriber_id, a.subscriber_id, e.subscriber_id);

-- name: find_confirmable
SELECT e.id
  FROM {events} AS e
  LEFT JOIN azure_message_tracking AS m ON m.internet_message_id = e.internet_message_id
  LEFT JOIN azure_message_tracking AS a ON m.id IS NULL AND a.azure_message_id = e.azure_message_id
 WHERE e.state = 'attributed' AND e.matched_by = 'replaced_system' AND e.id > :after
   AND e.campaign_id = coalesce(m.campaign_id, a.campaign_id)
   AND e.subscriber_id = coalesce(m.subscriber_id, a.subscriber_id, e.subscriber_id)
 ORDER BY e.id
 LIMIT :limit;

-- name: confirm_events
UPDATE {events} AS e
   SET matched_by = CASE WHEN m.learned_id = 'internet_message_id' THEN 'delivery_report'::attribution_key
                         WHEN m.id IS NOT NULL THEN 'internet_message_id'::attribution_key
                         WHEN a.learned_id = 'azure_message_id' THEN 'delivery_report'::attribution_key
                         ELSE 'azure_message_id'::attribution_key END
  FROM {events} AS same
  LEFT JOIN azure_message_tracking AS m ON m.internet_message_id = same.internet_message_id
  LEFT JOIN azure_message_tracking AS a ON m.id IS NULL AND a.azure_message_id = same.azure_message_id
 WHERE same.id = e.id AND e.id = ANY(CAST(:ids AS bigint[])) AND e.matched_by = 'replaced_system'
   AND e.campaign_id = coalesce(m.campaign_id, a.campaign_id)
   AND e.subscriber_id = coalesce(m.subscriber_id, a.subscriber_id, e.subscriber_id);

-- name: find_unknown
-- Credited by the replaced system, and of no message that is tracked: nothing tells for or against it.
SELECT e.id, e.campaign_id
  FROM {events} AS e
 WHERE e.state = 'attributed' AND e.matched_by = 'replaced_system'
   AND NOT EXISTS (SELECT FROM azure_message_tracking AS t WHERE t.internet_message_id = e.internet_message_id)
   AND NOT EXISTS (SELECT FROM azure_message_tracking AS t WHERE t.azure_message_id = e.azure_message_id)
 ORDER BY e.id;

-- name: find_untraced
-- Rows in the campaigns in question that no event accounts for: listmonk's own, or of an event that nobody kept.
SELECT r.id, r.campaign_id
  FROM {rows}
 WHERE r.campaign_id = ANY(CAST(:campaigns AS integer[])) AND {not_ours}
   AND NOT EXISTS (SELECT FROM {events} AS e
                    WHERE e.campaign_id = r.campaign_id AND e.subscriber_id = r.subscriber_id
                      AND r.created_at IN (e.event_timestamp, e.created_at)
                      AND {act_of} = '{act}' AND {uncounted_of} IS NULL)
 ORDER BY r.id;

-- name: one_at_a_time
-- The lock of whoever lets native rows count events; see native.sql.
SELECT pg_advisory_xact_lock(hashtext('attribution native rows'));

-- name: create_batch
CREATE TEMPORARY TABLE IF NOT EXISTS repair_batch (
    event_id bigint PRIMARY KEY,
    campaign_id integer NOT NULL,
    subscriber_id integer,
    true_campaign_id integer NOT NULL,
    true_subscriber_id integer,
    matched_by text NOT NULL,
    act text,
    row_id bigint,
    row_campaign_id integer,
    row_subscriber_id integer,
    native_id bigint
) ON COMMIT DELETE ROWS;

-- name: fill_batch
INSERT INTO repair_batch
SELECT * FROM unnest(
    CAST(:event_ids AS bigint[]), CAST(:campaign_ids AS integer[]), CAST(:subscriber_ids AS integer[]),
    CAST(:true_campaign_ids AS integer[]), CAST(:true_subscriber_ids AS integer[]), CAST(:matched_bys AS text[]),
    CAST(:acts AS text[]), CAST(:row_ids AS bigint[]), CAST(:row_campaign_ids AS integer[]),
    CAST(:row_subscriber_ids AS integer[]), CAST(:native_ids AS bigint[]));

-- name: drop_changed_events
-- The rows are locked by now: what is as it was planned stays so.
DELETE FROM repair_batch AS b
 WHERE NOT EXISTS (SELECT FROM {events} AS e
                    WHERE e.id = b.event_id AND e.state = 'attributed' AND e.campaign_id = b.campaign_id
                      AND e.subscriber_id IS NOT DISTINCT FROM b.subscriber_id);

-- name: drop_changed_rows
DELETE FROM repair_batch AS b
 WHERE b.act = '{act}' AND b.row_id IS NOT NULL
   AND NOT (EXISTS (SELECT FROM {results} AS r
                     WHERE r.id = b.row_id AND r.campaign_id IS NOT DISTINCT FROM b.row_campaign_id
                       AND r.subscriber_id IS NOT DISTINCT FROM b.row_subscriber_id)
            AND (b.native_id IS NULL OR EXISTS (SELECT FROM {results} AS r WHERE r.id = b.native_id))
            AND NOT EXISTS (SELECT FROM azure_engagement_events AS e
                             WHERE e.engagement_type = '{act}' AND e.native_id = coalesce(b.native_id, b.row_id)));

-- name: correct_events
UPDATE {events} AS e
   SET campaign_id = b.true_campaign_id,
       subscriber_id = b.true_subscriber_id,
       matched_by = CAST(b.matched_by AS attribution_key){counted}
  FROM repair_batch AS b
 WHERE e.id = b.event_id;

-- name: move_rows
UPDATE {results} AS r
   SET campaign_id = b.true_campaign_id, subscriber_id = {reader}
  FROM repair_batch AS b
 WHERE b.act = '{act}' AND b.native_id IS NULL AND r.id = b.row_id;

-- name: remove_rows
DELETE FROM {results} AS r
 USING repair_batch AS b
 WHERE b.act = '{act}' AND b.native_id IS NOT NULL AND r.id = b.row_id;

-- name: forget_batch
DELETE FROM repair_batch;
