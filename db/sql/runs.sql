-- Replays, imports, backfills and repairs, and how far each source has been read.

-- name: start_run
INSERT INTO attribution_runs (kind, parameters)
VALUES (:kind, CAST(:parameters AS jsonb))
RETURNING id;

-- name: finish_run
UPDATE attribution_runs
   SET state = 'finished', summary = CAST(:summary AS jsonb), finished_at = now()
 WHERE id = :run_id;

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
