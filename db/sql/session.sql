-- What a transaction asks of its own session.

-- name: prefer_index_lookups
-- A batch looks up a few thousand ids among millions of rows. A hash or merge join would read the millions; the planner
-- may choose one because a temporary table has no statistics.
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);
