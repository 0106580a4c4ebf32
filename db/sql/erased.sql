-- What was erased, known again by hashes: so that neither a redelivery nor a replay brings it back.

-- name: has_erased
SELECT EXISTS (SELECT FROM attribution_erased);

-- name: find_erased
SELECT k.kind, k.value
  FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS k (kind, value)
  JOIN attribution_erased AS e ON e.key = CAST(md5(k.kind || ' ' || k.value) AS uuid);

-- name: remember_erased
-- In the order of their keys, so that two erasures wait for each other and never deadlock. What is erased again is kept as
-- long as if it were the first time.
INSERT INTO attribution_erased (key)
SELECT DISTINCT CAST(md5(k.kind || ' ' || k.value) AS uuid) AS key
  FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS k (kind, value)
 ORDER BY key
ON CONFLICT (key) DO UPDATE SET erased_at = now();
