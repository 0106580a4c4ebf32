-- Rows of ours in listmonk's tables have the negated ids of their events. Should some be there from an installation that
-- is gone, the ids of new events begin behind them.
DO $$
DECLARE
    counted text;
    lowest bigint;
BEGIN
    FOREACH counted IN ARRAY ARRAY['campaign_views', 'link_clicks'] LOOP
        IF EXISTS (SELECT FROM pg_attribute
                    WHERE attrelid = to_regclass(counted) AND attname = 'id' AND atttypid = 'bigint'::regtype) THEN
            EXECUTE format('SELECT min(id) FROM %I WHERE id < 0', counted) INTO lowest;
            PERFORM setval(pg_get_serial_sequence('azure_engagement_events', 'id'),
                           greatest(-lowest, (SELECT max(id) FROM azure_engagement_events)))
              WHERE lowest IS NOT NULL
                AND -lowest > coalesce(pg_sequence_last_value(
                        pg_get_serial_sequence('azure_engagement_events', 'id')::regclass), 0);
        END IF;
    END LOOP;
END $$;
