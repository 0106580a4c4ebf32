-- What a rehearsal, one long transaction around many, needs beside savepoints.

-- name: allow_idleness
-- Between two batches files are read and parsed; a paused terminal, however, must not hold its locks for ever.
SET LOCAL idle_in_transaction_session_timeout = '5min';

-- name: drop_temporary
-- Temporary tables are emptied by a commit. Here none comes, so each transaction leaves none behind.
DISCARD TEMP;
