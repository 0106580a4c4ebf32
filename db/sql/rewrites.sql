-- The rewrite alarm: delivery reports of Message-IDs that nobody tracked, beside tracked messages that no report names.
-- Evidence, and never attribution: nothing here touches an event or a tracking row.
--
-- {domain} is the domain that a message goes to, and {subscribers} the join that it may need; what was {again} tracked is
-- the same for trackings that were refused. :span is how long before its report a message may have been sent, :slack how
-- far two clocks may disagree.

-- name: take_turns
-- One detection at a time, for the length of the transaction. It joins hundreds of thousands of rows, once in minutes, on
-- connections that are set up for looking up a few.
SELECT pg_try_advisory_xact_lock(hashtext('attribution rewrite alarm')),
       set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true);

-- name: find_unexplained
-- Reports that nothing accounts for: of a Message-ID that nobody tracked, or of none (those are of suppressed mails). They
-- are found by an index of their own. There are usually none.
SELECT e.id, e.event_id, e.internet_message_id, e.azure_message_id, e.campaign_id, e.recipient_domain AS domain,
       e.event_timestamp AS reported_at,
       e.created_at > now() - CAST(:reach AS interval) AND i.id IS NULL AS is_news
  FROM azure_delivery_events AS e
  LEFT JOIN attribution_incidents AS i ON i.kind = 'message_id_replaced' AND i.subject_id = e.id
 WHERE e.created_at > now() - CAST(:reach AS interval) - CAST(:span AS interval)
   AND (e.state <> 'attributed' OR e.matched_by = 'header')
   AND e.recipient_domain IS NOT NULL
   AND (e.internet_message_id IS NULL OR e.created_at <= now() - CAST(:patience AS interval))
   AND NOT EXISTS (SELECT FROM azure_message_tracking AS t WHERE t.internet_message_id = e.internet_message_id)
 ORDER BY e.id DESC
 LIMIT 50000;

-- name: find_silent
-- Messages to these domains that no report has named since they were sent; and those whose id was tracked before, for
-- somebody else, of which the report, if there is one, is the first one's. One pass over a few hours of messages and of
-- reports, both found by their BRIN indexes.
SELECT t.id AS tracking_row, coalesce(t.internet_message_id, t.set_aside_message_id) AS message_id, t.campaign_id,
       t.sent_at, t.internet_message_id IS NULL AS used_before, false AS tracked_again, {domain} AS domain
  FROM azure_message_tracking AS t
  {subscribers}
 WHERE t.sent_at > now() - CAST(:reach AS interval) - 2 * CAST(:span AS interval)
   AND t.sent_at <= now() - CAST(:patience AS interval) + CAST(:slack AS interval)
   AND {domain} = ANY(CAST(:domains AS text[]))
   AND coalesce(t.internet_message_id, t.set_aside_message_id) IS NOT NULL
   AND NOT EXISTS (SELECT FROM azure_delivery_events AS e
                    WHERE e.created_at > now() - CAST(:reach AS interval) - 2 * CAST(:span AS interval)
                                         - CAST(:slack AS interval)
                      AND e.internet_message_id = coalesce(t.internet_message_id, t.set_aside_message_id)
                      AND e.event_timestamp >= t.sent_at - CAST(:slack AS interval))
   AND NOT EXISTS (SELECT FROM azure_delivery_events AS e
                    WHERE e.created_at > now() - CAST(:reach AS interval) - 2 * CAST(:span AS interval)
                                         - CAST(:slack AS interval)
                      AND e.azure_message_id = t.azure_message_id
                      AND e.event_timestamp >= t.sent_at - CAST(:slack AS interval))
UNION ALL
SELECT t.id, t.internet_message_id, r.campaign_id, q.received_at, true, true, {domain_again}
  FROM attribution_quarantine AS q
 CROSS JOIN jsonb_to_record(CAST(convert_from(q.body, 'UTF8') AS jsonb))
            AS r (internet_message_id text, campaign_id int, subscriber_id int, recipient_domain text)
  JOIN azure_message_tracking AS t ON t.internet_message_id = r.internet_message_id
  {subscribers_again}
 WHERE q.id > (SELECT max(id) - 20000 FROM attribution_quarantine)
   AND q.kind = 'message' AND q.reason = 'tracking_refused'
   AND q.received_at > now() - CAST(:reach AS interval) - 2 * CAST(:span AS interval)
   AND {domain_again} = ANY(CAST(:domains AS text[]))
 ORDER BY sent_at DESC, tracking_row
 LIMIT 50000;

-- name: find_contradicted
-- Reports that Azure's own id ties to a message which was tracked under another Message-ID: no guess is needed.
SELECT e.id, e.event_id, e.internet_message_id, e.azure_message_id, e.recipient_domain AS domain,
       e.event_timestamp AS reported_at, true AS is_news,
       t.id AS tracking_row, t.internet_message_id AS message_id, t.campaign_id,
       coalesce(t.sent_at, t.created_at, e.event_timestamp) AS sent_at, false AS used_before, false AS tracked_again
  FROM azure_delivery_events AS e
  JOIN azure_message_tracking AS t ON t.azure_message_id = e.azure_message_id
 WHERE e.created_at > now() - CAST(:reach AS interval)
   AND e.matched_by = 'azure_message_id'
   AND e.internet_message_id <> t.internet_message_id
   AND NOT EXISTS (SELECT FROM azure_message_tracking AS o WHERE o.internet_message_id = e.internet_message_id)
   AND NOT EXISTS (SELECT FROM attribution_incidents AS i
                    WHERE i.kind = 'message_id_replaced' AND i.subject_id = e.id)
 ORDER BY e.id
 LIMIT :limit;

-- name: find_used_before
-- Of these messages, the ids that a report had named before the message was sent.
SELECT DISTINCT e.internet_message_id
  FROM azure_delivery_events AS e
  JOIN unnest(CAST(:message_ids AS text[]), CAST(:sent_ats AS timestamptz[])) AS s (message_id, sent_at)
    ON s.message_id = e.internet_message_id
 WHERE e.internet_message_id = ANY(CAST(:message_ids AS text[]))
   AND e.event_timestamp < s.sent_at - CAST(:slack AS interval);

-- name: note_replaced
INSERT INTO attribution_incidents (kind, subject_id, details)
SELECT 'message_id_replaced', n.subject_id, n.details
  FROM unnest(CAST(:subject_ids AS bigint[]), CAST(:details AS jsonb[])) AS n (subject_id, details)
 ORDER BY n.subject_id
ON CONFLICT (kind, subject_id) DO NOTHING;

-- name: withdraw_tracked
-- The id of the report was tracked after all: the mailer was late, and nothing was replaced.
DELETE FROM attribution_incidents AS i
 USING azure_delivery_events AS e
  JOIN azure_message_tracking AS t ON t.internet_message_id = e.internet_message_id
 WHERE i.kind = 'message_id_replaced' AND e.id = i.subject_id;

-- name: withdraw_reported
-- Messages that were silent and have reported since are no longer named, and what names none is withdrawn. One that was
-- tracked again under a used id stays: the report is of the first of the two.
WITH named AS (
    SELECT i.id, c.candidate, c.position
      FROM attribution_incidents AS i
     CROSS JOIN jsonb_array_elements(i.details -> 'candidates') WITH ORDINALITY AS c (candidate, position)
     WHERE i.kind = 'message_id_replaced' AND NOT CAST(i.details ->> 'certain' AS boolean)
), heard AS (
    SELECT DISTINCT n.id, n.position
      FROM named AS n
      JOIN azure_delivery_events AS e ON e.internet_message_id = n.candidate ->> 'message_id'
     WHERE e.created_at > now() - CAST(:reach AS interval)
       AND e.event_timestamp >= CAST(n.candidate ->> 'sent_at' AS timestamptz) - CAST(:slack AS interval)
       AND NOT CAST(n.candidate ->> 'tracked_again' AS boolean)
), remaining AS (
    SELECT n.id, coalesce(jsonb_agg(n.candidate ORDER BY n.position) FILTER (WHERE h.id IS NULL), '[]') AS candidates
      FROM named AS n
      LEFT JOIN heard AS h USING (id, position)
     WHERE n.id IN (SELECT id FROM heard)
     GROUP BY n.id
), kept AS (
    UPDATE attribution_incidents AS i
       SET details = i.details || jsonb_build_object(
               'candidates', r.candidates,
               'cause', CASE WHEN r.candidates @> '[{"cause": "form"}]' THEN 'form'
                             WHEN r.candidates @> '[{"cause": "duplicate"}]' THEN 'duplicate'
                             ELSE 'unknown' END)
      FROM remaining AS r
     WHERE i.id = r.id AND r.candidates <> '[]'
)
DELETE FROM attribution_incidents AS i
 USING remaining AS r
 WHERE i.id = r.id AND r.candidates = '[]';

-- name: list_incidents
-- The newest first, each with the event that it is about, if that is still there.
SELECT i.id, i.kind, i.subject_id, i.details, i.found_at,
       coalesce(g.event_id, d.event_id) AS event_id,
       coalesce(g.internet_message_id, d.internet_message_id) AS internet_message_id
  FROM attribution_incidents AS i
  LEFT JOIN azure_engagement_events AS g ON i.kind = 'keys_disagree' AND g.id = i.subject_id
  LEFT JOIN azure_delivery_events AS d ON i.kind = 'message_id_replaced' AND d.id = i.subject_id
 WHERE CAST(:kind AS text) IS NULL OR i.kind = :kind
 ORDER BY i.id DESC
 LIMIT :limit;

-- name: count_incidents
SELECT kind, count(*) AS incidents FROM attribution_incidents GROUP BY kind ORDER BY kind;
