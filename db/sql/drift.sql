-- What the drain counts to notice a bad deploy, or that Azure changed something; and the alarms that follow from it.
--
-- Every drain process writes and reads this every few seconds, beside its batches. Tallies are only ever inserted, so nobody
-- waits for anybody there; names and alarms are a few rows, written when something changes, in the order of their keys.

-- name: tally
INSERT INTO attribution_tallies (events, malformed, unknown, engagements, without_id, reasons)
VALUES (:events, :malformed, :unknown, :engagements, :without_id, CAST(:reasons AS jsonb));

-- name: learn
-- Names that nobody has learnt yet, up to :most in all: of two processes that meet the same name, one learns it.
INSERT INTO attribution_names (kind, name)
SELECT n.kind, n.name
  FROM unnest(CAST(:kinds AS text[]), CAST(:names AS text[])) AS n (kind, name)
 WHERE NOT EXISTS (SELECT FROM attribution_names AS known WHERE known.kind = n.kind AND known.name = n.name)
 ORDER BY n.kind, n.name
 LIMIT greatest(0, :most - (SELECT count(*) FROM attribution_names))
ON CONFLICT (kind, name) DO NOTHING
RETURNING id, kind, name;

-- name: note_drift
INSERT INTO attribution_incidents (kind, subject_id, details)
SELECT 'drift', n.id, n.details
  FROM unnest(CAST(:ids AS bigint[]), CAST(:details AS jsonb[])) AS n (id, details)
 ORDER BY n.id
ON CONFLICT (kind, subject_id) DO NOTHING;

-- name: accepted_names
SELECT kind, name FROM attribution_names WHERE accepted_at IS NOT NULL;

-- name: names_of
SELECT id, kind, name, accepted_at FROM attribution_names WHERE id = ANY(CAST(:ids AS bigint[]));

-- name: read_alarms
-- The latest alarm of each kind, open or ended, and what time the database has: it is the one clock of all processes.
SELECT k.kind, now() AS now, i.id, i.subject_id, i.found_at, i.details,
       greatest(i.found_at, CAST(i.details ->> 'since' AS timestamptz),
                CAST(i.details ->> 'ended_at' AS timestamptz)) > now() AS ahead
  FROM unnest(ARRAY['poison', 'id_missing']) AS k (kind)
  LEFT JOIN LATERAL (SELECT * FROM attribution_incidents AS i
                      WHERE i.kind = k.kind ORDER BY i.subject_id DESC LIMIT 1) AS i ON true;

-- name: redate_alarm
-- What an alarm has from a clock that was ahead, and has been put right, happens now. It may slow as long from now on. Of
-- two processes that find it at once one writes: the other waits for it, and finds nothing ahead any longer.
UPDATE attribution_incidents AS i
   SET found_at = least(i.found_at, now()),
       details = i.details || jsonb_strip_nulls(jsonb_build_object(
           'slows_until', CAST(i.details ->> 'slows_until' AS timestamptz) - greatest(i.found_at - now(), interval '0')))
           || (SELECT coalesce(jsonb_object_agg(d.key, now()), '{}')
                 FROM (VALUES ('since'), ('ended_at')) AS d (key)
                WHERE CAST(i.details ->> d.key AS timestamptz) > now())
 WHERE i.id = :id
   AND greatest(i.found_at, CAST(i.details ->> 'since' AS timestamptz),
                CAST(i.details ->> 'ended_at' AS timestamptz)) > now();

-- name: add_up
-- All tallies since then. Those of the future, here and below, are from a clock that was ahead: nobody knows how old they are.
SELECT coalesce(sum(events), 0) AS events, coalesce(sum(malformed), 0) AS malformed, coalesce(sum(unknown), 0) AS unknown,
       coalesce(sum(engagements), 0) AS engagements, coalesce(sum(without_id), 0) AS without_id
  FROM attribution_tallies
 WHERE counted_at > :since AND counted_at <= now();

-- name: add_up_newest
-- Of the tallies since then the newest, as many as hold :events of what is asked about.
SELECT coalesce(sum(events), 0) AS events, coalesce(sum(malformed), 0) AS malformed, coalesce(sum(unknown), 0) AS unknown,
       coalesce(sum(engagements), 0) AS engagements, coalesce(sum(without_id), 0) AS without_id
  FROM (SELECT *, sum({counted}) OVER (ORDER BY counted_at DESC, id DESC) - {counted} AS newer
          FROM attribution_tallies
         WHERE counted_at > :since AND counted_at <= now()) AS t
 WHERE newer < :events;

-- name: add_up_reasons
SELECT r.key AS reason, sum(CAST(r.value AS bigint)) AS events
  FROM attribution_tallies AS t, jsonb_each_text(t.reasons) AS r
 WHERE t.counted_at > :since AND t.counted_at <= now()
 GROUP BY r.key
 ORDER BY events DESC, reason;

-- name: open_alarm
-- Of two processes that find out at once, one opens the alarm: both number it alike.
INSERT INTO attribution_incidents (kind, subject_id, details)
VALUES (:kind, :number, CAST(:details AS jsonb))
ON CONFLICT (kind, subject_id) DO NOTHING;

-- name: open_again
UPDATE attribution_incidents
   SET details = details || CAST(:details AS jsonb)
 WHERE id = :id AND details ->> 'ended_at' IS NOT NULL;

-- name: end_alarm
UPDATE attribution_incidents
   SET details = details || CAST(:details AS jsonb)
 WHERE id = :id AND details ->> 'ended_at' IS NULL;

-- name: accept_names
UPDATE attribution_names AS n
   SET accepted_at = now()
  FROM (SELECT id FROM attribution_names WHERE accepted_at IS NULL ORDER BY id FOR UPDATE) AS seen
 WHERE n.id = seen.id;

-- name: end_alarms
-- By an operator's word.
UPDATE attribution_incidents AS i
   SET details = i.details || jsonb_build_object('ended_at', now(), 'ended_by', 'operator')
  FROM (SELECT id FROM attribution_incidents
         WHERE kind IN ('id_missing', 'poison') AND details ->> 'ended_at' IS NULL
         ORDER BY kind, id FOR UPDATE) AS chosen
 WHERE i.id = chosen.id
RETURNING i.kind;

-- name: purge_tallies
-- SKIP LOCKED: two purges share the work. Those of the future would count when their time has come, long after what they
-- tell; a minute, since others may have begun after this did.
DELETE FROM attribution_tallies
 WHERE id IN (SELECT id FROM attribution_tallies
               WHERE counted_at < :older_than OR counted_at > now() + interval '1 minute'
               ORDER BY id LIMIT :limit
                 FOR UPDATE SKIP LOCKED);
