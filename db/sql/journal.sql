-- The journal of backfills and repairs: whole rows as they were and as they became, and the way back. {table} is one of
-- the tables that are journalled.

-- name: use_utc
-- Instants inside jsonb are text: written and compared in one time zone.
SELECT set_config('TimeZone', 'UTC', true);

-- name: create_watched
CREATE TEMPORARY TABLE IF NOT EXISTS attribution_watched (
    table_name text NOT NULL, row_id bigint NOT NULL, was jsonb, PRIMARY KEY (table_name, row_id)
) ON COMMIT DELETE ROWS;

-- name: watch_rows
-- Keep rows as they are before a change. They are locked in the order of their id, as the drain locks them, so nobody else
-- changes them until the journal is written. A row that is not there is kept as NULL: it may be about to be inserted.
INSERT INTO attribution_watched (table_name, row_id, was)
SELECT '{table}', wanted.id, locked.was
  FROM unnest(CAST(:ids AS bigint[])) AS wanted (id)
  LEFT JOIN (SELECT t.id, to_jsonb(t) AS was
               FROM {table} AS t
              WHERE t.id = ANY(CAST(:ids AS bigint[]))
              ORDER BY t.id
                FOR UPDATE OF t) AS locked ON locked.id = wanted.id
ON CONFLICT (table_name, row_id) DO NOTHING;

-- name: write_changes
INSERT INTO attribution_journal (run_id, table_name, row_id, was, became, reason)
SELECT :run_id, '{table}', w.row_id, w.was, to_jsonb(t), :reason
  FROM attribution_watched AS w
  LEFT JOIN {table} AS t ON t.id = w.row_id
 WHERE w.table_name = '{table}' AND w.was IS DISTINCT FROM to_jsonb(t)
 ORDER BY w.row_id;

-- name: write_inserted
INSERT INTO attribution_journal (run_id, table_name, row_id, became, reason)
SELECT :run_id, '{table}', t.id, to_jsonb(t), :reason
  FROM {table} AS t
 WHERE t.id = ANY(CAST(:ids AS bigint[]))
 ORDER BY t.id;

-- name: forget_watched
DELETE FROM attribution_watched WHERE table_name = '{table}';

-- name: count_changes
-- What a run has changed, by table and campaign, for the given reasons: a row that went from one campaign to another is
-- one less here and one more there.
SELECT table_name, campaign_id, CAST(sum(change) AS integer) AS change
  FROM (SELECT table_name, CAST(was ->> 'campaign_id' AS integer) AS campaign_id, -1 AS change
          FROM attribution_journal
         WHERE run_id = :run_id AND reason = ANY(CAST(:reasons AS text[])) AND undone_at IS NULL
        UNION ALL
        SELECT table_name, CAST(became ->> 'campaign_id' AS integer), 1
          FROM attribution_journal
         WHERE run_id = :run_id AND reason = ANY(CAST(:reasons AS text[])) AND undone_at IS NULL) AS changes
 WHERE campaign_id IS NOT NULL
 GROUP BY table_name, campaign_id
HAVING sum(change) <> 0
 ORDER BY table_name, campaign_id;

-- name: count_reasons
SELECT reason, table_name, count(*) AS rows
  FROM attribution_journal
 WHERE run_id = :run_id AND undone_at IS NULL
 GROUP BY reason, table_name
 ORDER BY reason, table_name;

-- name: read_run
SELECT kind, state, summary FROM attribution_runs WHERE id = :run_id;

-- name: find_unfinished
-- A run of this kind that was interrupted. Nobody else can be at it: its kind is exclusive.
SELECT max(id) FROM attribution_runs WHERE kind = :kind AND state = 'running';

-- name: keep_summary
UPDATE attribution_runs SET summary = CAST(:summary AS jsonb) WHERE id = :run_id;

-- name: mark_undone
UPDATE attribution_runs SET state = 'undone' WHERE id = :run_id;

-- name: take_turn
-- Held by the session: backfills, repairs and undoings of them come one after another.
SELECT pg_try_advisory_lock(hashtext('attribution corrections'));

-- name: end_turn
SELECT pg_advisory_unlock(hashtext('attribution corrections'));

-- name: count_changed_rows
SELECT count(DISTINCT (table_name, row_id)) FROM attribution_journal WHERE run_id = :run_id AND undone_at IS NULL;

-- name: list_changed_rows
-- The rows that a run has changed and that are not restored yet, the last changed first.
SELECT table_name, row_id, max(id) AS latest
  FROM attribution_journal
 WHERE run_id = :run_id AND undone_at IS NULL
 GROUP BY table_name, row_id
HAVING max(id) < :before
 ORDER BY latest DESC
 LIMIT :limit;

-- name: create_undoing
CREATE TEMPORARY TABLE IF NOT EXISTS attribution_undoing (
    table_name text NOT NULL, row_id bigint NOT NULL, was jsonb, became jsonb, changed jsonb, sound boolean NOT NULL,
    PRIMARY KEY (table_name, row_id)
) ON COMMIT DELETE ROWS;

-- name: find_undoing
-- From what each row was before the run to what the run made of it at last; `changed` is what differs. It is sound where
-- each of the run's changes began where the one before it had ended: otherwise somebody else was there in between.
INSERT INTO attribution_undoing (table_name, row_id, was, became, changed, sound)
SELECT table_name, row_id, was, became,
       (SELECT jsonb_object_agg(w.key, w.value) FROM jsonb_each(was) AS w WHERE w.value IS DISTINCT FROM became -> w.key),
       sound
  FROM (SELECT table_name, row_id,
               (array_agg(was ORDER BY id))[1] AS was,
               (array_agg(became ORDER BY id DESC))[1] AS became,
               bool_and(unbroken) AS sound
          FROM (SELECT j.*, j.was IS NOT DISTINCT FROM
                              lag(j.became, 1, j.was) OVER (PARTITION BY j.table_name, j.row_id ORDER BY j.id) AS unbroken
                  FROM unnest(CAST(:table_names AS text[]), CAST(:row_ids AS bigint[])) AS wanted (table_name, row_id)
                 CROSS JOIN LATERAL (SELECT * FROM attribution_journal AS e
                                      WHERE e.table_name = wanted.table_name AND e.row_id = wanted.row_id
                                        -- By the row, of which there are few entries, and not by the run: before the
                                        -- journal is analysed the planner cannot know which has more.
                                        AND e.run_id + 0 = :run_id AND e.undone_at IS NULL
                                     OFFSET 0) AS j) AS entries
         GROUP BY table_name, row_id) AS changes;

-- name: lock_undoing
SELECT t.id FROM {table} AS t
 WHERE t.id IN (SELECT row_id FROM attribution_undoing WHERE table_name = '{table}')
 ORDER BY t.id
   FOR UPDATE;

-- name: keep_unchanged
-- A row is restored only from exactly what the run made of it. Columns that came to the table later are not looked at.
UPDATE attribution_undoing AS u
   SET sound = false
  FROM attribution_undoing AS o
  LEFT JOIN {table} AS t ON t.id = o.row_id
 WHERE o.table_name = '{table}' AND u.table_name = o.table_name AND u.row_id = o.row_id
   AND ((o.became IS NULL) <> (t.id IS NULL)
        OR EXISTS (SELECT FROM jsonb_each(o.became) AS b WHERE to_jsonb(t) -> b.key IS DISTINCT FROM b.value));

-- name: list_columns
-- Those that can be written, in their order.
SELECT quote_ident(attname)
  FROM pg_attribute
 WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
 ORDER BY attnum;

-- name: restore_inserted
DELETE FROM {table} AS t
 USING attribution_undoing AS u
 WHERE u.table_name = '{table}' AND u.sound AND u.was IS NULL AND t.id = u.row_id;

-- name: restore_changed
-- Only what the run has changed is written: jsonb cannot tell a JSON null from none in a column that it has not.
UPDATE {table} AS t
   SET ({columns_but_id}) = (SELECT {columns_but_id} FROM jsonb_populate_record(t, u.changed))
  FROM attribution_undoing AS u
 WHERE u.table_name = '{table}' AND u.sound AND u.was IS NOT NULL AND u.became IS NOT NULL AND u.changed IS NOT NULL
   AND t.id = u.row_id;

-- name: restore_removed
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {record_columns}
  FROM attribution_undoing AS u, jsonb_populate_record(CAST(NULL AS {table}), u.was) AS r
 WHERE u.table_name = '{table}' AND u.sound AND u.was IS NOT NULL AND u.became IS NULL
 ORDER BY u.row_id;

-- name: mark_restored
UPDATE attribution_journal AS j
   SET undone_at = now()
  FROM attribution_undoing AS u
 WHERE j.run_id + 0 = :run_id AND j.undone_at IS NULL AND u.sound
   AND j.table_name = u.table_name AND j.row_id = u.row_id;

-- name: list_refused
SELECT table_name, row_id FROM attribution_undoing WHERE NOT sound ORDER BY table_name, row_id;

-- name: forget_undoing
DELETE FROM attribution_undoing;
