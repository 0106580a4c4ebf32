-- What `attribution doctor` asks of PostgreSQL. Nothing here writes, waits for a lock, or reads a table of events as a whole.

-- name: read_settings
-- As this session has them: what ALTER ROLE and ALTER DATABASE say, and the address, is in them.
SELECT name, setting
  FROM pg_settings
 WHERE name IN ('server_version_num', 'server_encoding', 'fsync', 'full_page_writes', 'synchronous_commit',
                'synchronous_standby_names', 'autovacuum', 'track_counts', 'max_connections',
                'superuser_reserved_connections', 'transaction_read_only', 'autovacuum_freeze_max_age');

-- name: read_database
SELECT pg_is_in_recovery() AS in_recovery, clock_timestamp() AS now,
       age(datfrozenxid) AS transactions, has_database_privilege(oid, 'TEMPORARY') AS temporary
  FROM pg_database
 WHERE datname = current_database();

-- name: count_connections
-- What others are connected for may be hidden from us; how many they are is not.
SELECT sum(numbackends) AS used FROM pg_stat_database;

-- name: find_long_transactions
SELECT count(*) AS times, extract(epoch FROM max(now() - xact_start)) AS seconds,
       bool_or(state LIKE 'idle in transaction%') AS idle
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
   AND xact_start < now() - CAST(:older_than AS interval);

-- name: count_prepared
SELECT count(*) FROM pg_prepared_xacts WHERE prepared < now() - CAST(:older_than AS interval);

-- name: find_idle_slots
-- A slot that nobody reads from keeps the log of all writes until the disk is full.
SELECT count(*) AS slots,
       max(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
                           restart_lsn)) AS bytes
  FROM pg_replication_slots
 WHERE NOT active AND restart_lsn IS NOT NULL;

-- name: find_tables
SELECT wanted.name, to_regclass(wanted.name) IS NOT NULL AS found
  FROM unnest(CAST(:tables AS text[])) AS wanted (name)
 ORDER BY wanted.name;

-- name: find_invalid_indexes
SELECT i.relname AS name, t.relname AS table_name
  FROM unnest(CAST(:tables AS text[])) AS ours (name)
  JOIN pg_class AS t ON t.oid = to_regclass(ours.name)
  JOIN pg_index AS x ON x.indrelid = t.oid AND NOT (x.indisvalid AND x.indisready)
  JOIN pg_class AS i ON i.oid = x.indexrelid
 ORDER BY i.relname;

-- name: find_triggers
-- tgenabled: D is off for everyone, R is off but for replication.
SELECT t.relname AS table_name, g.tgname AS name, g.tgenabled NOT IN ('D', 'R') AS enabled
  FROM unnest(CAST(:tables AS text[])) AS ours (name)
  JOIN pg_class AS t ON t.oid = to_regclass(ours.name)
  JOIN pg_trigger AS g ON g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgname LIKE 'attribution%';

-- name: find_unvacuumed
SELECT t.relname
  FROM unnest(CAST(:tables AS text[])) AS ours (name)
  JOIN pg_class AS t ON t.oid = to_regclass(ours.name)
 WHERE EXISTS (SELECT FROM unnest(t.reloptions) AS o (option)
                WHERE o.option IN ('autovacuum_enabled=false', 'autovacuum_enabled=off', 'autovacuum_enabled=no',
                                   'autovacuum_enabled=0'))
 ORDER BY t.relname;

-- name: find_foreign_keys
-- To listmonk's campaigns and subscribers, which each of our three tables refers to.
SELECT t.relname AS table_name, a.attname AS column_name, c.confdeltype = 'c' AS cascades, c.convalidated AS validated
  FROM unnest(CAST(:tables AS text[])) AS ours (name)
  JOIN pg_class AS t ON t.oid = to_regclass(ours.name)
  JOIN pg_constraint AS c ON c.conrelid = t.oid AND c.contype = 'f'
       AND c.confrelid IN (to_regclass('campaigns'), to_regclass('subscribers'))
  JOIN pg_attribute AS a ON a.attrelid = t.oid AND c.conkey = ARRAY[a.attnum];

-- name: find_missing_privileges
SELECT w.name AS table_name, w.privilege
  FROM unnest(CAST(:tables AS text[]), CAST(:privileges AS text[])) AS w (name, privilege)
 WHERE to_regclass(w.name) IS NOT NULL AND NOT has_table_privilege(to_regclass(w.name), w.privilege)
 ORDER BY w.name, w.privilege;

-- name: find_missing_sequences
-- A column's own sequence. An identity column's needs no right of its own, but a serial one's does.
SELECT t.relname AS table_name
  FROM unnest(CAST(:tables AS text[])) AS ours (name)
  JOIN pg_class AS t ON t.oid = to_regclass(ours.name)
  JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = ''
  JOIN pg_depend AS d ON d.refobjid = t.oid AND d.refobjsubid = a.attnum AND d.classid = CAST('pg_class' AS regclass)
       AND d.deptype = 'a'
  JOIN pg_class AS s ON s.oid = d.objid
 -- As a CASE: asked of anything else than a sequence, as the planner might, it is an error.
 WHERE CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') ELSE false END
 ORDER BY t.relname;

-- name: read_listmonk_version
-- listmonk lists the migrations that it has been through; the last one is its version.
SELECT value ->> -1 FROM settings WHERE key = 'migrations' AND jsonb_typeof(value) = 'array';

-- name: last_push
-- The newest of what is known of pushes: archived bodies, and rows of events, which outlive the archive.
SELECT greatest(
    (SELECT max(last_received_at) FROM attribution_archive WHERE kind = 'event'),
    (SELECT max(received_at) FROM (SELECT received_at FROM azure_engagement_events ORDER BY id DESC LIMIT 1000) AS e),
    (SELECT max(received_at) FROM (SELECT received_at FROM azure_delivery_events ORDER BY id DESC LIMIT 1000) AS d)) AS at,
    now() AS now;

-- name: last_trackings
-- Of the newest trackings of mails that were sent: how many there are since then, and when the first of them was.
SELECT count(*) AS messages, min(sent_at) AS first_at
  FROM (SELECT sent_at FROM azure_message_tracking ORDER BY id DESC LIMIT 1000) AS t
 WHERE sent_at > :since AND sent_at <= now();

-- name: overdue
-- Parked events whose next attempt should have been made by then: the oldest of the due ones, by their index.
SELECT min(next_attempt_at) AS since, now() AS now
  FROM (SELECT (SELECT min(next_attempt_at) FROM azure_engagement_events WHERE state = 'parked') AS next_attempt_at
        UNION ALL
        SELECT (SELECT min(next_attempt_at) FROM azure_delivery_events WHERE state = 'parked')) AS each;

-- name: foreign_rows
-- Rows of other programs that no sweep has adopted, which takes seconds.
SELECT count(*) AS rows, min(created_at) AS since, now() AS now
  FROM (SELECT created_at FROM azure_message_tracking WHERE tracked_via IS NULL LIMIT 10000) AS t;

-- name: endless_campaigns
-- Campaigns with rows from before, in which something has happened since: they are not closed, and nothing of them is purged.
SELECT campaign_id, min(first_at) AS first_at
  FROM attribution_campaign_counts AS k
 WHERE NOT EXISTS (SELECT FROM attribution_closed_campaigns AS c WHERE c.campaign_id = k.campaign_id)
 GROUP BY campaign_id
HAVING min(first_at) < now() - CAST(:age AS interval)
 ORDER BY min(first_at), campaign_id
 LIMIT :most;

-- name: uncounted_changes
SELECT count(*) AS changes FROM (SELECT FROM attribution_count_changes LIMIT :most) AS c;

-- name: quarantined_lately
-- Of the newest only: no index tells when a part was quarantined.
SELECT count(*) AS parts, mode() WITHIN GROUP (ORDER BY reason) AS reason
  FROM (SELECT created_at, kind, reason FROM attribution_quarantine ORDER BY id DESC LIMIT 10000) AS q
 WHERE created_at > :since AND kind = 'event';

-- name: open_alarms
-- The latest alarm of each kind, where it has not ended, and for how long it has been on.
SELECT kind, greatest(interval '0', now() - since) AS age
  FROM (SELECT DISTINCT ON (kind) kind, coalesce(CAST(details ->> 'since' AS timestamptz), found_at) AS since,
               details ->> 'ended_at' AS ended_at
          FROM attribution_incidents
         WHERE kind IN ('poison', 'id_missing')
         ORDER BY kind, subject_id DESC) AS latest
 WHERE ended_at IS NULL
 ORDER BY kind;
