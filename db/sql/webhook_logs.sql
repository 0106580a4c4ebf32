-- The replaced system's log of the requests it was sent. It is read, and never written.

-- name: has_logs
SELECT count(*) = 3
  FROM pg_attribute
 WHERE attrelid = to_regclass('webhook_logs') AND attname IN ('id', 'request_body', 'created_at') AND NOT attisdropped;

-- name: newest_log
SELECT coalesce(max(id), 0) FROM webhook_logs;

-- name: list_logs
-- Without the bodies, which may be large: the caller decides how many of them it can hold.
SELECT id, coalesce(octet_length(request_body), 0) AS body_bytes
  FROM webhook_logs
 WHERE id > :after
 ORDER BY id
 LIMIT :limit;

-- name: read_logs
SELECT id, request_body, CAST(created_at AS timestamptz) AS created_at
  FROM webhook_logs
 WHERE id = ANY(CAST(:ids AS bigint[]))
 ORDER BY id;
