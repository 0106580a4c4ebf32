-- The triggers of {table}, whose rows are counted as {source}. They replace those that an attempt before this one made.
CREATE OR REPLACE TRIGGER attribution_counts_insert AFTER INSERT ON {table}
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION attribution_{source}_changed();
CREATE OR REPLACE TRIGGER attribution_counts_update AFTER UPDATE ON {table}
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT
    EXECUTE FUNCTION attribution_{source}_changed();
CREATE OR REPLACE TRIGGER attribution_counts_delete AFTER DELETE ON {table}
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION attribution_{source}_changed();
CREATE OR REPLACE TRIGGER attribution_counts_truncate AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION attribution_rows_truncated('{source}');
