-- What this release says of an event when it reads it, for events that it did not read. The rows are locked already: their
-- transaction has just attributed them.

-- name: fold_types
UPDATE azure_engagement_events SET engagement_type = lower(engagement_type)
 WHERE id = ANY(CAST(:ids AS bigint[])) AND engagement_type <> lower(engagement_type);

-- name: find_unclassified_engagements
SELECT id, engagement_type, engagement_context
  FROM azure_engagement_events
 WHERE id = ANY(CAST(:ids AS bigint[])) AND uncounted IS NULL;

-- name: set_uncounted
UPDATE azure_engagement_events AS e SET uncounted = u.value
  FROM unnest(CAST(:ids AS bigint[]), CAST(:values AS text[])) AS u (id, value) WHERE e.id = u.id;

-- name: find_unclassified_deliveries
SELECT id, status, status_reason
  FROM azure_delivery_events
 WHERE id = ANY(CAST(:ids AS bigint[])) AND bounce_type IS NULL;

-- name: set_bounce_types
UPDATE azure_delivery_events AS e SET bounce_type = u.value
  FROM unnest(CAST(:ids AS bigint[]), CAST(:values AS text[])) AS u (id, value) WHERE e.id = u.id;
