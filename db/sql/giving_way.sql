-- name: give_way
-- To the end of the transaction.
SELECT set_config('lock_timeout', :longest_wait, true);
