-- What was erased, known again by hashes: so that neither a redelivery nor a replay brings it back.

-- name: has_erased
SELECT EXISTS (SELECT FROM attribution_erased);

-- name: find_erased
-- The keys come as lines of one text, which costs the driver nothing, where a list costs it microseconds a key.
SELECT k.line
  FROM string_to_table(:lines, E'\n') AS k (line)
  JOIN attribution_erased AS e ON e.key = CAST(md5(k.line) AS uuid);

-- name: remember_erased
-- In the order of their keys, so that two erasures wait for each other and never deadlock. What is erased again is kept as
-- long as if it were the first time.
INSERT INTO attribution_erased (key)
SELECT DISTINCT CAST(md5(k.line) AS uuid) AS key
  FROM string_to_table(:lines, E'\n') AS k (line)
 ORDER BY key
ON CONFLICT (key) DO UPDATE SET erased_at = now();
