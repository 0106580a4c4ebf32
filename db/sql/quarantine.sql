-- What could not become an event or a tracking row, bytes and reason.

-- name: quarantine
-- The same bytes redelivered are kept once. Rows come in ordered by key, so that two drains cannot deadlock.
INSERT INTO attribution_quarantine (content_key, kind, reason, detail, body, entry_id, received_at)
SELECT * FROM unnest(CAST(:content_keys AS uuid[]), CAST(:kinds AS text[]), CAST(:reasons AS text[]),
                     CAST(:details AS text[]), CAST(:bodies AS bytea[]), CAST(:entry_ids AS text[]),
                     CAST(:received_ats AS timestamptz[]))
ON CONFLICT (content_key) DO NOTHING;

-- name: count_by_reason
SELECT kind, reason, count(*) AS bodies, max(received_at) AS latest_received_at
  FROM attribution_quarantine
 GROUP BY kind, reason
 ORDER BY kind, reason;

-- name: list_quarantine
SELECT id, kind, reason, detail, entry_id, received_at, length(body) AS body_bytes
  FROM attribution_quarantine
 WHERE (CAST(:reason AS text) IS NULL OR reason = :reason)
 ORDER BY id DESC
 LIMIT :limit;

-- name: show_body
SELECT body FROM attribution_quarantine WHERE id = :id;
