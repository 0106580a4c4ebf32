-- More time than a statement usually has, or less.

-- name: limit_statements
-- Until the end of the transaction.
SELECT set_config('statement_timeout', :milliseconds, true);

-- name: require_use
-- An answer, or the very error that a write would meet, upon which a connection to a standby is not used again.
DO $$
BEGIN
    IF current_setting('transaction_read_only') = 'on' THEN
        RAISE read_only_sql_transaction USING MESSAGE = 'it takes no writes';
    END IF;
END $$;
