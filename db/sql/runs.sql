-- Replays, imports, backfills, repairs and erasures, and how far each source has been read.

-- name: start_run
INSERT INTO attribution_runs (kind, parameters)
VALUES (:kind, CAST(:parameters AS jsonb))
RETURNING id;

-- name: finish_run
UPDATE attribution_runs
   SET state = 'finished', summary = CAST(:summary AS jsonb), finished_at = now()
 WHERE id = :run_id;

-- name: find_unfinished_erasures
-- Erasures that have not ended, or have left something. They take turns, so what runs beside the one that asks has died.
SELECT id, parameters, finished_at, summary ->> 'left' AS left, summary - 'left' AS removed
  FROM attribution_runs
 WHERE kind = 'erase' AND (state = 'running' OR summary ? 'left')
 ORDER BY id;

-- name: end_unfinished
UPDATE attribution_runs
   SET state = 'finished', summary = CAST(:summary AS jsonb), finished_at = now()
 WHERE id = :run_id;

-- name: end_whole
-- Nothing tells any more whom they were about.
UPDATE attribution_runs AS r
   SET state = 'finished', parameters = '{}', finished_at = now(),
       summary = CASE WHEN r.id = :run_id THEN CAST(:summary AS jsonb) ELSE coalesce(r.summary, '{}') - 'left' END
 WHERE r.id = :run_id OR r.id = ANY(CAST(:others AS integer[]));

-- name: position_of
SELECT position, finished_at IS NOT NULL AS finished
  FROM attribution_imports
 WHERE source = :source;

-- name: finished_among
SELECT source
  FROM attribution_imports
 WHERE source = ANY(CAST(:sources AS text[])) AND finished_at IS NOT NULL;

-- name: advance
-- Several in one transaction go in the order of their sources, so that two runs over the same ones cannot deadlock.
INSERT INTO attribution_imports (source, position, run_id, finished_at)
VALUES (:source, :position, :run_id, CASE WHEN CAST(:finished AS boolean) THEN now() END)
ON CONFLICT (source) DO UPDATE
   SET position = excluded.position, run_id = excluded.run_id, finished_at = excluded.finished_at;
