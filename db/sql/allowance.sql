-- More time than a statement usually has, or less.

-- name: limit_statements
-- Until the end of the transaction.
SELECT set_config('statement_timeout', :milliseconds, true);

-- name: say_something
SELECT 1;
