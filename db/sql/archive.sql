-- The raw archive: one row for the bodies of each drained batch, compressed.

-- name: keep
INSERT INTO attribution_archive (kind, first_received_at, last_received_at, bodies, raw_bytes, content)
VALUES (:kind, :first_received_at, :last_received_at, :bodies, :raw_bytes, :content);

-- name: list_archived
-- Rows that hold bodies of the window, in the order in which their last bodies came. Without their contents, which are
-- large: the caller decides how many of those it can hold.
SELECT id, last_received_at, bodies, raw_bytes
  FROM attribution_archive
 WHERE last_received_at >= :since
   AND first_received_at < :until
   AND kind = :kind
   AND (last_received_at, id) > (:after_received_at, :after_id)
 ORDER BY last_received_at, id
 LIMIT :limit;

-- name: count_archived
SELECT coalesce(sum(bodies), 0) AS bodies, coalesce(sum(raw_bytes), 0) AS raw_bytes
  FROM attribution_archive
 WHERE last_received_at >= :since AND first_received_at < :until;

-- name: read_contents
SELECT id, content
  FROM attribution_archive
 WHERE id = ANY(CAST(:ids AS bigint[]))
 ORDER BY last_received_at, id;

-- name: find_span
SELECT min(first_received_at) AS first_received_at, max(last_received_at) AS last_received_at
  FROM attribution_archive;

-- name: purge
-- Oldest first, a few at a time, so that no transaction is long. Two purges at once share the rows.
DELETE FROM attribution_archive
 WHERE id IN (SELECT id FROM attribution_archive
               WHERE last_received_at < :older_than
               ORDER BY last_received_at
               LIMIT :limit
                 FOR UPDATE SKIP LOCKED);
